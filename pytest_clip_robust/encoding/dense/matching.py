"""Matching of pictures by dense features, where the model runs: a row of errors, or of places, for each pair.

The dense features of a picture are a thousand times larger than its feature vector, and only matching needs them. They
stay in memory while pairs with the same picture follow each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet, depth_in_metres
from pytest_clip_robust.datasets.images.decoding import read_image
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.dense.features import encode_dense
from pytest_clip_robust.encoding.dense.keypoints import find_points
from pytest_clip_robust.encoding.dense.nearest import FeatureMap
from pytest_clip_robust.encoding.dense.resize import Resize, resize_for
from pytest_clip_robust.encoding.dense.rows import DRAWN, MATCHES, PADDING
from pytest_clip_robust.encoding.dense.views import View, match_views, resized_intrinsics, view_points
from pytest_clip_robust.encoding.engines.base import EncodedBatch, PairJob
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

CACHE_BYTES = 2**29
"""Dense features in memory: those of 170 pictures for a ViT-B-16 at 512 pixels."""

PAIRS_AT_A_TIME = 16
LARGEST_ERROR = float(np.finfo(np.float32).max)
"""Stored in place of infinity, which the store refuses as a sign of unusable features."""

Dense = Mapping[int, tuple[Resize, FeatureMap]]
"""The dense features of pictures, with how they were resized, by position."""


def match_pairs(job: PairJob, *, notice: Notice = log_notice) -> Iterator[EncodedBatch]:
    """Yield the rows of the job's pairs; see `Engine`.

    Raises:
        DataError: a picture or its depth cannot be read, or a view has fewer than two points of known depth.
        ModelError: the model has no dense features, or they are unusable.
    """
    found = job.pictures
    of_views = _place_row if job.places else _view_row
    boxes, row = (
        (found.boxes, partial(of_views, found)) if isinstance(found, ViewSet) else (None, partial(_keypoint_row, found))
    )
    read = DenseReader(job.model, found.images, job.size, boxes=boxes, notice=notice)
    digests = list(job.pairs)
    for part in row_slices(len(digests), PAIRS_AT_A_TIME):
        batch = digests[part]
        dense = read([position for digest in batch for position in job.pairs[digest]])
        yield EncodedBatch(batch, np.stack([row(dense, job.pairs[digest]) for digest in batch]))


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
        self._kept: LRUCache[int, tuple[Resize, FeatureMap]] = LRUCache(
            CACHE_BYTES, getsizeof=lambda one: one[1].features.nbytes
        )

    def __call__(self, positions: Sequence[int]) -> dict[int, tuple[Resize, FeatureMap]]:
        """Return the Resize and the features, on the model's device, of the pictures at `positions`.

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
                found[position] = (resize, FeatureMap(of_one.clone(), resize.grid))
                if of_one.nbytes <= CACHE_BYTES:
                    self._kept[position] = found[position]
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


def view_of(views: ViewSet, position: int, resize: Resize, features: FeatureMap) -> View:
    """Return the view at `position` of a set, with its features.

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


def _view_row(views: ViewSet, dense: Dense, pair: tuple[int, int]) -> NDArray[np.float32]:
    found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
    errors = np.full((2, MATCHES), PADDING, np.float32)
    errors[:, : len(found.metres)] = np.minimum([found.metres, found.pixels], LARGEST_ERROR)
    return errors.ravel()


def _place_row(views: ViewSet, dense: Dense, pair: tuple[int, int]) -> NDArray[np.float32]:
    found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
    # Evenly from the most to the least distinctive, so that as many of them are right as of all matches.
    drawn = np.unique(np.linspace(0, len(found.metres) - 1, DRAWN).astype(np.int64))
    grids = [dense[position][0].grid for position in pair]
    ends = [_shares(points[drawn], grid) for points, grid in zip((found.source, found.target), grids, strict=True)]
    places = np.full((DRAWN, 5), PADDING, np.float32)
    places[: len(drawn)] = np.column_stack([*ends, np.minimum(found.metres[drawn], LARGEST_ERROR)])
    return places.ravel()


def _shares(points: NDArray[np.int64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return x and y (N, 2) of positions in a grid of rows and columns, as shares of its width and height."""
    row, column = np.divmod(points, grid[1])
    return np.stack([(column + 0.5) / grid[1], (row + 0.5) / grid[0]], axis=1)


def _keypoint_row(keypoints: KeypointSet, dense: Dense, pair: tuple[int, int]) -> NDArray[np.float32]:
    (source_resize, source), (target_resize, target) = (dense[position] for position in pair)
    points = keypoints.points[list(pair)]
    shared = np.isfinite(points).all(axis=(0, 2))
    queries = source_resize.to_resized(points[0][shared])
    places = find_points(source.features, queries, source_resize, target)
    offsets = places / target_resize.scale + target_resize.box[:2] - points[1][shared]
    left, top, right, bottom = keypoints.boxes[pair[1]]
    errors = np.full(keypoints.points.shape[1], PADDING, np.float32)
    errors[: shared.sum()] = np.linalg.norm(offsets, axis=1) / max(right - left, bottom - top)
    return errors
