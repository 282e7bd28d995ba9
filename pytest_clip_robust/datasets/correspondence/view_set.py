"""A ViewSet: pictures of scenes with depth and cameras, and which of them are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.images.depth import Depths, decode_depth
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.reading import Rows
from pytest_clip_robust.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScale:
    """What the numbers of V depth maps mean: a number v that is not 0 is ``offset + scale * v`` metres; 0 is unknown.

    scale: (V,) float64. inverse: the maps hold inverse depth, and v is ``offset + scale / v`` metres.
    along_ray: the distance from the camera's centre, and not along its optical axis.
    """

    scale: NDArray[np.float64]
    offset: float = 0.0
    inverse: bool = False
    along_ray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSet:
    """V posed RGB-D views of scenes, and P pairs of views of one scene each.

    depths: a map of every view, of its picture's size, with (V, 3, 3) intrinsics in pixels of the picture; the first
        pixel's centre is at (0.5, 0.5).
    poses: (V, 4, 4) float64, camera to world; x to the right, y down, z into the scene, in metres.
    scenes: V names of what the views show; pairs: (P, 2) int64 positions of views.
    boxes: (V, 4) int64 left, top, right and bottom pixels of the part that is looked at, or None for all of it.
    """

    images: ImageSet
    depths: Depths
    depth_scale: DepthScale
    poses: NDArray[np.float64]
    scenes: Sequence[str]
    pairs: NDArray[np.int64]
    fingerprint: str
    boxes: NDArray[np.int64] | None = None

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name

    @property
    def intrinsics(self) -> NDArray[np.float32]:
        """The (V, 3, 3) camera matrices."""
        if self.depths.intrinsics is None:
            raise DataError(f"data set {self.name!r}: its views have no intrinsics")
        return self.depths.intrinsics


def depth_in_metres(views: ViewSet, position: int) -> NDArray[np.float32]:
    """Return the (H, W) depth of a view along its optical axis in metres; 0 where it is not known.

    Zeros, negative numbers, NaN and infinities are unknown: no point that could be found again lies there.

    Raises:
        DataError: the map cannot be read, or nothing of it is known.
    """
    sample = views.depths.samples[position]
    try:
        numbers = decode_depth(views.depths.read(position)).astype(np.float64)
    except (DataError, OSError) as error:
        raise DataError(f"data set {views.name!r}: view {sample!r}: {error}") from error
    depth = _metres(numbers, views.depth_scale, position)
    if not depth.any():
        raise DataError(
            f"data set {views.name!r}: view {sample!r}: nothing of its depth is known; expected numbers above 0"
        )
    if views.depth_scale.along_ray:
        depth /= _ray_lengths(views.intrinsics[position].astype(np.float64), depth.shape)
    return depth.astype(np.float32)


def _metres(numbers: NDArray[np.float64], scale: DepthScale, position: int) -> NDArray[np.float64]:
    known = np.isfinite(numbers) & (numbers > 0)
    filled = np.where(known, numbers, 1)
    depth = scale.offset + scale.scale[position] * (1 / filled if scale.inverse else filled)
    return np.where(known & (depth > 0), depth, 0)


def _ray_lengths(intrinsics: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the (H, W) lengths of the rays through the pixels' centres that reach a depth of 1."""
    (fx, _, cx), (_, fy, cy), _ = intrinsics
    rows, columns = np.indices(shape) + 0.5
    lengths: NDArray[np.float64] = np.sqrt(((columns - cx) / fx) ** 2 + ((rows - cy) / fy) ** 2 + 1)
    return lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedRows:
    """V pictures with depth and cameras as the files have them, nothing decoded or checked.

    depth: the reader of V maps and their stamps.
    intrinsics: (V, 3, 3) in pixels of the pictures; the first pixel's centre is at (0.5, 0.5).
    poses, scenes, pairs: as in a ViewSet; pairs is None where the files list none.
    around_object: whether a square around what has depth is looked at, in place of the whole picture.
    """

    pictures: Rows
    depth: tuple[ImageReader, list[str | None]]
    depth_scale: DepthScale
    intrinsics: NDArray[np.float64]
    poses: NDArray[np.float64]
    scenes: Sequence[str]
    pairs: NDArray[np.int64] | None = None
    around_object: bool = False
