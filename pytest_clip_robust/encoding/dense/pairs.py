"""Pairs of pictures, matched by a model's dense features: the errors of the matches are stored, not the features.

The dense features of a picture are a thousand times larger than its feature vector, and only matching needs them. They
stay in memory while pairs with the same picture follow each other.
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

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet, depth_in_metres
from pytest_clip_robust.datasets.images.decoding import read_image
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.dense.features import encode_dense
from pytest_clip_robust.encoding.dense.keypoints import find_points
from pytest_clip_robust.encoding.dense.resize import Resize, resize_for
from pytest_clip_robust.encoding.dense.views import MATCHES, VERSION, View, match_views, resized_intrinsics, view_points
from pytest_clip_robust.encoding.engines.base import EncodedBatch
from pytest_clip_robust.encoding.store.features import StoreKey
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

CACHE_BYTES = 2**29
"""Dense features in memory: those of 170 pictures for a ViT-B-16 at 512 pixels."""

PAIRS_AT_A_TIME = 16
DRAWN = 40
"""At most this many matches of a pair are drawn."""

PADDING = -1.0
"""Fills a row up to its width; errors are never negative."""

LARGEST_ERROR = float(np.finfo(np.float32).max)
"""Stored in place of infinity, which the store refuses as a sign of unusable features."""


@dataclass(frozen=True, slots=True)
class ViewErrors:
    """The errors of the matches of one pair, the most distinctive match first: (N,) metres and (N,) resized pixels."""

    metres: NDArray[np.float32]
    pixels: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMatching:
    """A job that matches the pairs of one set with one model; its result has one row per pair.

    name: the set's, for messages. key, digests: identify the rows in the feature store. width: numbers per row.
    match: yields the rows of the pairs with the given digests.
    """

    name: str
    key: StoreKey
    digests: Sequence[str]
    width: int
    match: Callable[[Sequence[str]], Iterator[EncodedBatch]]


class DenseReader:
    """Reads, resizes and encodes pictures of a set; the dense features used last stay in memory."""

    def __init__(
        self,
        model: LoadedModel,
        images: ImageSet,
        size: int,
        *,
        boxes: NDArray[np.int64] | None = None,
        notice: Notice = log_notice,
    ) -> None:
        """Resize the pictures, or the `boxes` (V, 4) in them, to a longer side of `size` pixels."""
        self._model, self._images, self._size, self._boxes, self._notice = model, images, size, boxes, notice
        self._kept: LRUCache[int, tuple[Resize, Tensor]] = LRUCache(CACHE_BYTES, getsizeof=lambda one: one[1].nbytes)

    def __call__(self, positions: Sequence[int]) -> dict[int, tuple[Resize, Tensor]]:
        """Return the Resize and the (D, h, w) features, on the model's device, of the pictures at `positions`.

        Raises:
            DataError: a picture cannot be read, or is too small.
            ModelError: the model has no dense features, or they are unusable.
        """
        found = {position: self._kept[position] for position in positions if position in self._kept}
        by_shape: dict[tuple[int, ...], list[tuple[int, Resize, NDArray[np.uint8]]]] = {}
        for position in dict.fromkeys(positions):
            if position not in found:
                resize, pixels = self._read(position)
                by_shape.setdefault(pixels.shape, []).append((position, resize, pixels))
        for same_shape in by_shape.values():
            features = encode_dense(
                self._model,
                np.stack([pixels for _, _, pixels in same_shape]),
                samples=[self._images.samples[position] for position, _, _ in same_shape],
                notice=self._notice,
            ).to(self._model.device)
            for (position, resize, _), of_one in zip(same_shape, features, strict=True):
                found[position] = (resize, of_one)
                if of_one.nbytes <= CACHE_BYTES:
                    self._kept[position] = (resize, of_one.clone())
        return found

    def _read(self, position: int) -> tuple[Resize, NDArray[np.uint8]]:
        try:
            picture = read_image(self._images, position)
            box = None if self._boxes is None else tuple(self._boxes[position].tolist())
            resize = resize_for(*picture.size, size=self._size, box=box)
        except DataError as error:
            raise DataError(
                f"{self._images.name}: image {printable(self._images.samples[position])!r}: {error}"
            ) from error
        return resize, resize.apply(picture)


def view_matching(
    model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int, notice: Notice = log_notice
) -> PairMatching:
    """Return how `model` matches `pairs` (P, 2) of views; `view_errors` decodes the rows.

    Matching raises a DataError if a picture or its depth cannot be read, or if a view has fewer than two points of
    known depth.
    """
    read = DenseReader(model, views.images, size, boxes=views.boxes, notice=notice)

    def row(dense: Mapping[int, tuple[Resize, Tensor]], pair: tuple[int, int]) -> NDArray[np.float32]:
        found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
        errors = np.full((2, MATCHES), PADDING, np.float32)
        errors[:, : len(found.metres)] = np.minimum([found.metres, found.pixels], LARGEST_ERROR)
        return errors.ravel()

    digests, pair_of = _pair_digests(pairs, partial(_view_identity, views))
    return PairMatching(
        name=views.name,
        key=_key("views", model, size, MATCHES),
        digests=digests,
        width=2 * MATCHES,
        match=partial(_match, pair_of=pair_of, read=read, row=row),
    )


def place_matching(
    model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int, notice: Notice = log_notice
) -> PairMatching:
    """Return where `model` finds its matches of `pairs` (P, 2) of views, to draw them; `match_places` decodes the rows.

    Matching raises a DataError as for `view_matching`.
    """
    read = DenseReader(model, views.images, size, boxes=views.boxes, notice=notice)

    def row(dense: Mapping[int, tuple[Resize, Tensor]], pair: tuple[int, int]) -> NDArray[np.float32]:
        found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
        # Evenly from the most to the least distinctive, so that as many of them are right as of all matches.
        drawn = np.unique(np.linspace(0, len(found.metres) - 1, DRAWN).astype(np.int64))
        grids = [dense[position][0].grid for position in pair]
        ends = [_shares(points[drawn], grid) for points, grid in zip((found.source, found.target), grids, strict=True)]
        places = np.full((DRAWN, 5), PADDING, np.float32)
        places[: len(drawn)] = np.column_stack([*ends, np.minimum(found.metres[drawn], LARGEST_ERROR)])
        return places.ravel()

    digests, pair_of = _pair_digests(pairs, partial(_view_identity, views))
    return PairMatching(
        name=views.name,
        key=_key("places", model, size, MATCHES, DRAWN),
        digests=digests,
        width=5 * DRAWN,
        match=partial(_match, pair_of=pair_of, read=read, row=row),
    )


def match_places(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the (N, 5) matches of each row of a `place_matching`, the most distinctive first.

    Columns: x and y in the first picture, x and y in the second, as shares of its width and height, or those of the
    box that is used; and the error in metres.
    """
    return [row.reshape(-1, 5)[row.reshape(-1, 5)[:, 0] != PADDING] for row in rows]


def _shares(points: NDArray[np.int64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return x and y (N, 2) of positions in a grid of rows and columns, as shares of its width and height."""
    row, column = np.divmod(points, grid[1])
    return np.stack([(column + 0.5) / grid[1], (row + 0.5) / grid[0]], axis=1)


def view_errors(rows: NDArray[np.float32]) -> list[ViewErrors]:
    """Return the errors that `rows` of a `view_matching` hold."""
    return [ViewErrors(*(part[part != PADDING] for part in row.reshape(2, -1))) for row in rows]


def view_of(views: ViewSet, position: int, resize: Resize, features: Tensor) -> View:
    """Return the view at `position` of a set, with its (D, h, w) features.

    Raises:
        DataError: its depth cannot be read, or is known for fewer than two points.
    """
    intrinsics = views.intrinsics[position]
    points = view_points(depth_in_metres(views, position), intrinsics, resize)
    if np.count_nonzero(points[..., 2]) < 2:
        raise DataError(
            f"{views.name}: view {printable(views.images.samples[position])!r} has fewer than two points of known "
            "depth: leave it out"
        )
    return View(
        resize=resize,
        features=features,
        points=points,
        intrinsics=resized_intrinsics(intrinsics, resize),
        pose=views.poses[position],
    )


def keypoint_matching(
    model: LoadedModel, keypoints: KeypointSet, pairs: NDArray[np.int64], *, size: int, notice: Notice = log_notice
) -> PairMatching:
    """Return how `model` finds the keypoints that the pictures of `pairs` (P, 2) share; see `keypoint_errors`.

    Matching raises a DataError if a picture cannot be read.
    """
    read = DenseReader(model, keypoints.images, size, notice=notice)
    most = keypoints.points.shape[1]

    def row(dense: Mapping[int, tuple[Resize, Tensor]], pair: tuple[int, int]) -> NDArray[np.float32]:
        (source_resize, source), (target_resize, target) = dense[pair[0]], dense[pair[1]]
        points = keypoints.points[list(pair)]
        shared = np.isfinite(points).all(axis=(0, 2))
        queries = source_resize.to_resized(points[0][shared])
        places = find_points(source, queries, source_resize, target, target_resize)
        offsets = places / target_resize.scale + target_resize.box[:2] - points[1][shared]
        left, top, right, bottom = keypoints.boxes[pair[1]]
        errors = np.full(most, PADDING, np.float32)
        errors[: shared.sum()] = np.linalg.norm(offsets, axis=1) / max(right - left, bottom - top)
        return errors

    digests, pair_of = _pair_digests(pairs, partial(_keypoint_identity, keypoints))
    return PairMatching(
        name=keypoints.name,
        key=_key("keypoints", model, size, most),
        digests=digests,
        width=most,
        match=partial(_match, pair_of=pair_of, read=read, row=row),
    )


def keypoint_errors(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return, for each row of a `keypoint_matching`, the errors of the shared keypoints.

    An error is the distance to the true point over the longer side of the target's box.
    """
    return [row[row != PADDING] for row in rows]


def _key(kind: Literal["views", "places", "keypoints"], model: LoadedModel, *settings: int) -> StoreKey:
    return StoreKey(
        kind=kind,
        weights=model.weights,
        transform=f"{model.preprocess}+{'-'.join(map(str, [VERSION, *settings]))}",
        precision=model.arithmetic,
    )


def _pair_digests(
    pairs: NDArray[np.int64], identity: Callable[[int], object]
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return the digest of each pair, and the pair of each digest; `identity` is everything known about a picture."""
    known = {position: json.dumps(identity(position), sort_keys=True) for position in np.unique(pairs).tolist()}
    digests = [hashlib.sha256(f"{known[one]}|{known[other]}".encode()).hexdigest() for one, other in pairs.tolist()]
    return digests, {digest: (one, other) for digest, (one, other) in zip(digests, pairs.tolist(), strict=True)}


def _match(
    missing: Sequence[str],
    *,
    pair_of: Mapping[str, tuple[int, int]],
    read: DenseReader,
    row: Callable[[Mapping[int, tuple[Resize, Tensor]], tuple[int, int]], NDArray[np.float32]],
) -> Iterator[EncodedBatch]:
    """Yield the rows of the `missing` pairs; `row` returns the row of one pair from the features of both pictures."""
    for part in row_slices(len(missing), PAIRS_AT_A_TIME):
        batch = missing[part]
        dense = read([position for digest in batch for position in pair_of[digest]])
        yield EncodedBatch(batch, np.stack([row(dense, pair_of[digest]) for digest in batch]))


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
