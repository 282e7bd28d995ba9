"""View sets: images of scenes with depth and cameras, and the pairs of views that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.datasets.images.depth import Depths, decode_depth
from pytest_clip_robust.datasets.images.image_set import ImageSet, SetOfImages
from pytest_clip_robust.datasets.sources.rows import DepthRows, Rows
from pytest_clip_robust.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScale:
    """Units of V depth maps: a value v other than 0 is ``offset + scale * v`` metres; 0 is unknown.

    scale: (V,) float64. inverse: the maps hold inverse depth, so v is ``offset + scale / v`` metres.
    along_ray: depth is the distance from the camera's centre instead of the distance along its optical axis.
    """

    scale: Floats
    offset: float = 0.0
    inverse: bool = False
    along_ray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedRows:
    """V images with depth and cameras as the files have them, not decoded and not checked.

    intrinsics: (V, 3, 3) in pixels of the images; the first pixel's centre is at (0.5, 0.5).
    poses, scenes, pairs: as in a ViewSet; pairs is None if the files list no pairs.
    around_object: whether only a square around the pixels with depth is used, instead of the whole image.
    """

    pictures: Rows
    depth: DepthRows
    depth_scale: DepthScale
    intrinsics: Floats
    poses: Floats
    scenes: Sequence[str]
    pairs: Ints | None = None
    around_object: bool = False

    def take(self, positions: Ints) -> PosedRows:
        """Return the views at `positions`, in that order, without pairs."""
        return replace(
            self,
            pictures=self.pictures.take(positions),
            depth=self.depth.take(positions),
            depth_scale=replace(self.depth_scale, scale=self.depth_scale.scale[positions]),
            intrinsics=self.intrinsics[positions],
            poses=self.poses[positions],
            scenes=[self.scenes[i] for i in positions.tolist()],
            pairs=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSet(SetOfImages):
    """V posed RGB-D views of scenes, and P pairs of views of one scene each.

    depths: one map per view, of its image's size, with (V, 3, 3) intrinsics in pixels of the image; the first pixel's
        centre is at (0.5, 0.5).
    poses: (V, 4, 4) float64, camera to world; x to the right, y down, z into the scene, in metres.
    scenes: V names of scenes. pairs: (P, 2) int64 positions of views.
    boxes: (V, 4) int64 left, top, right and bottom pixels of the part that is used, or None for the whole image.
    """

    images: ImageSet
    depths: Depths
    depth_scale: DepthScale
    poses: Floats
    scenes: Sequence[str]
    pairs: Ints
    fingerprint: str
    boxes: Ints | None = None

    @property
    def intrinsics(self) -> NDArray[np.float32]:
        """The (V, 3, 3) camera matrices."""
        if self.depths.intrinsics is None:
            raise DataError(f"data set {self.name!r}: its views have no intrinsics")
        return self.depths.intrinsics


def depth_in_metres(views: ViewSet, position: int) -> NDArray[np.float32]:
    """Return the (H, W) depth of a view along its optical axis in metres; 0 where it is not known.

    Zeros, negative values, NaN and infinities count as unknown.

    Raises:
        DataError: the map cannot be read, or its depth is unknown everywhere.
    """
    sample = views.depths.samples[position]
    try:
        values = decode_depth(views.depths.read(position)).astype(np.float64)
    except (DataError, OSError) as error:
        raise DataError(f"data set {views.name!r}: view {sample!r}: {error}") from error
    depth = _metres(values, views.depth_scale, position)
    if not depth.any():
        raise DataError(f"data set {views.name!r}: view {sample!r}: its depth map has no positive value")
    if views.depth_scale.along_ray:
        depth /= _ray_lengths(views.intrinsics[position].astype(np.float64), depth.shape)
    return depth.astype(np.float32)


def _metres(values: Floats, scale: DepthScale, position: int) -> Floats:
    known = np.isfinite(values) & (values > 0)
    filled = np.where(known, values, 1)
    depth = scale.offset + scale.scale[position] * (1 / filled if scale.inverse else filled)
    return np.where(known & (depth > 0), depth, 0)


def _ray_lengths(intrinsics: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the (H, W) lengths of the rays from the camera's centre through the pixels' centres to a depth of 1."""
    (fx, _, cx), (_, fy, cy), _ = intrinsics
    rows, columns = np.indices(shape) + 0.5
    lengths: Floats = np.sqrt(((columns - cx) / fx) ** 2 + ((rows - cy) / fy) ** 2 + 1)
    return lengths
