"""Pairs of pictures matched by a model's dense features: how far off matches are is stored, the features are not.

A picture's dense features are a thousand times larger than one vector, and nobody but a match needs them. They are kept
in memory while pairs of the picture come one after the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet, depth_in_metres
from pytest_clip_robust.datasets.images.decoding import read_image
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.dense.features import encode_dense
from pytest_clip_robust.encoding.dense.keypoints import find_points
from pytest_clip_robust.encoding.dense.resize import Resize, resize_for
from pytest_clip_robust.encoding.dense.views import MATCHES, VERSION, View, match_views, resized_intrinsics, view_points
from pytest_clip_robust.encoding.encoder import complete
from pytest_clip_robust.encoding.engines.base import EncodedBatch
from pytest_clip_robust.encoding.engines.rank import RankEngine
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.progress import ShowProgress, show_progress
from pytest_clip_robust.system.text import printable

FEATURES_KEPT = 2**29
"""Bytes of dense features in memory: 170 pictures of a ViT-B-16 at 512 pixels."""

PAIRS_AT_A_TIME = 16
NOTHING = -1.0
"""Fills a row up to its length; errors are never negative."""

FARTHEST = float(np.finfo(np.float32).max)
"""Stands for infinity, which the store refuses as it refuses every number that looks like a broken feature."""


@dataclass(frozen=True, slots=True)
class ViewErrors:
    """How far off the matches of one pair are, the most distinctive first: (N,) metres and (N,) resized pixels."""

    metres: NDArray[np.float32]
    pixels: NDArray[np.float32]


class DenseReader:
    """Dense features of a set's pictures, as they are looked at; the last ones used stay in memory."""

    def __init__(
        self,
        model: LoadedModel,
        images: ImageSet,
        size: int,
        *,
        boxes: NDArray[np.int64] | None = None,
        notice: Notice = log_notice,
    ) -> None:
        """Resize at the pictures, or the `boxes` (V, 4) of them, with `size` pixels on the longer side."""
        self._model, self._images, self._size, self._boxes, self._notice = model, images, size, boxes, notice
        self._kept: LRUCache[int, tuple[Resize, Tensor]] = LRUCache(FEATURES_KEPT, getsizeof=lambda one: one[1].nbytes)

    def __call__(self, positions: Sequence[int]) -> dict[int, tuple[Resize, Tensor]]:
        """Return how the pictures at `positions` are looked at, and their (D, h, w) features on the model's device.

        Raises:
            DataError: a picture cannot be read, or is too small.
            ModelError: the model has no dense features, or unusable ones.
        """
        found = {position: self._kept[position] for position in positions if position in self._kept}
        by_shape: dict[tuple[int, ...], list[tuple[int, Resize, NDArray[np.uint8]]]] = {}
        for position in dict.fromkeys(positions):
            if position not in found:
                look, pixels = self._look(position)
                by_shape.setdefault(pixels.shape, []).append((position, look, pixels))
        for alike in by_shape.values():
            features = encode_dense(
                self._model,
                np.stack([pixels for _, _, pixels in alike]),
                samples=[self._images.samples[position] for position, _, _ in alike],
                notice=self._notice,
            ).to(self._model.device)
            for (position, look, _), of_one in zip(alike, features, strict=True):
                found[position] = (look, of_one)
                if of_one.nbytes <= FEATURES_KEPT:
                    self._kept[position] = (look, of_one.clone())
        return found

    def _look(self, position: int) -> tuple[Resize, NDArray[np.uint8]]:
        try:
            picture = read_image(self._images, position)
            box = None if self._boxes is None else tuple(self._boxes[position].tolist())
            look = resize_for(*picture.size, size=self._size, box=box)
        except DataError as error:
            raise DataError(
                f"{self._images.name}: image {printable(self._images.samples[position])!r}: {error}"
            ) from error
        return look, look.resize(picture)


def match_view_pairs(
    model: LoadedModel,
    views: ViewSet,
    pairs: NDArray[np.int64],
    store: FeatureStore,
    *,
    size: int,
    ranked: RankEngine | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
) -> list[ViewErrors]:
    """Return how far off the matches of each of P `pairs` (P, 2) of views are, from the first to the second.

    Raises:
        DataError: a picture or its depth cannot be read, or fewer than two points of a view are known.
        ModelError: the model has no dense features, or unusable ones.
        StoreError: the store cannot be read.
    """
    read = DenseReader(model, views.images, size, boxes=views.boxes, notice=notice)

    def row(dense: Mapping[int, tuple[Resize, Tensor]], pair: tuple[int, int]) -> NDArray[np.float32]:
        found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
        errors = np.full((2, MATCHES), NOTHING, np.float32)
        errors[:, : len(found.metres)] = np.minimum([found.metres, found.pixels], FARTHEST)
        return errors.ravel()

    work = _Work("views", [size, MATCHES], 2 * MATCHES, views.name, partial(_view_identity, views), read, row)
    rows = _complete_rows(model, work, pairs, store, ranked=ranked, progress=progress, notice=notice)
    return [ViewErrors(*(part[part != NOTHING] for part in one.reshape(2, -1))) for one in rows]


def view_of(views: ViewSet, position: int, look: Resize, features: Tensor) -> View:
    """Return a view as `look` sees it, with its (D, h, w) features.

    Raises:
        DataError: its depth cannot be read, or is known of fewer than two points.
    """
    intrinsics = views.intrinsics[position]
    points = view_points(depth_in_metres(views, position), intrinsics, look)
    if np.count_nonzero(points[..., 2]) < 2:
        raise DataError(
            f"{views.name}: view {printable(views.images.samples[position])!r} has no two points whose depth is known: "
            "leave it out"
        )
    return View(
        look=look,
        features=features,
        points=points,
        intrinsics=resized_intrinsics(intrinsics, look),
        pose=views.poses[position],
    )


def match_keypoint_pairs(
    model: LoadedModel,
    keypoints: KeypointSet,
    pairs: NDArray[np.int64],
    store: FeatureStore,
    *,
    size: int,
    ranked: RankEngine | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
) -> list[NDArray[np.float32]]:
    """Return for each of P `pairs` (P, 2) the distances of its shared keypoints, over the larger side of the target.

    Raises:
        DataError: a picture cannot be read.
        ModelError: the model has no dense features, or unusable ones.
        StoreError: the store cannot be read.
    """
    read = DenseReader(model, keypoints.images, size, notice=notice)
    most = keypoints.points.shape[1]

    def row(dense: Mapping[int, tuple[Resize, Tensor]], pair: tuple[int, int]) -> NDArray[np.float32]:
        (source_look, source), (target_look, target) = dense[pair[0]], dense[pair[1]]
        points = keypoints.points[list(pair)]
        shared = np.isfinite(points).all(axis=(0, 2))
        places = find_points(source, source_look.to_resized(points[0][shared]), source_look, target, target_look)
        away = places / target_look.scale + target_look.box[:2] - points[1][shared]
        left, top, right, bottom = keypoints.boxes[pair[1]]
        errors = np.full(most, NOTHING, np.float32)
        errors[: shared.sum()] = np.linalg.norm(away, axis=1) / max(right - left, bottom - top)
        return errors

    work = _Work("keypoints", [size, most], most, keypoints.name, partial(_keypoint_identity, keypoints), read, row)
    rows = _complete_rows(model, work, pairs, store, ranked=ranked, progress=progress, notice=notice)
    return [one[one != NOTHING] for one in rows]


@dataclass(frozen=True, slots=True)
class _Work:
    """How pairs of one kind are matched.

    settings: what rows depend on beside model and pictures. width: the numbers of a row. name: the set's. identity: all
    that a row depends on in the picture at a position. row: makes a pair's row of the dense features of both pictures.
    """

    kind: Literal["views", "keypoints"]
    settings: Sequence[int]
    width: int
    name: str
    identity: Callable[[int], object]
    read: DenseReader
    row: Callable[[Mapping[int, tuple[Resize, Tensor]], tuple[int, int]], NDArray[np.float32]]


def _complete_rows(
    model: LoadedModel,
    work: _Work,
    pairs: NDArray[np.int64],
    store: FeatureStore,
    *,
    ranked: RankEngine | None,
    progress: ShowProgress | None,
    notice: Notice,
) -> NDArray[np.float32]:
    """Return the row of every pair; those that the store lacks are made, and stored on the way.

    One process of several, `ranked`, makes the rows of its share.
    """
    known = {position: json.dumps(work.identity(position), sort_keys=True) for position in np.unique(pairs).tolist()}
    digests = [hashlib.sha256(f"{known[one]}|{known[other]}".encode()).hexdigest() for one, other in pairs.tolist()]
    pair_of = {digest: (one, other) for digest, (one, other) in zip(digests, pairs.tolist(), strict=True)}

    def match(missing: Sequence[str]) -> Iterator[EncodedBatch]:
        for start in range(0, len(missing), PAIRS_AT_A_TIME):
            batch = missing[start : start + PAIRS_AT_A_TIME]
            dense = work.read([position for digest in batch for position in pair_of[digest]])
            yield EncodedBatch(batch, np.stack([work.row(dense, pair_of[digest]) for digest in batch]))

    settings = "-".join(map(str, [VERSION, *work.settings]))
    key = StoreKey(
        kind=work.kind,
        weights=model.weights,
        transform=f"{model.preprocess}+{settings}",
        precision=model.precision,
    )
    show = partial(progress or partial(show_progress, notice=notice), "pairs", work.name)
    make = match if ranked is None else partial(ranked.share_out, encode=match, width=lambda: work.width)
    return complete(store, key, digests, make, show=show, who=model.spec.label)


def _view_identity(views: ViewSet, position: int) -> object:
    scale = views.depth_scale
    return [
        views.images.digests[position],
        views.depths.digests[position],
        [float(scale.scale[position]), scale.offset, scale.inverse, scale.along_ray],
        views.intrinsics[position].tolist(),
        views.poses[position].tolist(),
        None if views.boxes is None else views.boxes[position].tolist(),
    ]


def _keypoint_identity(keypoints: KeypointSet, position: int) -> object:
    return [
        keypoints.images.digests[position],
        [[None if np.isnan(x) else float(x) for x in point] for point in keypoints.points[position]],
        keypoints.boxes[position].tolist(),
    ]
