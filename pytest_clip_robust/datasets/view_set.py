"""A ViewSet: pictures of scenes with depth and cameras, and which of them are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.depth import Depths
from pytest_clip_robust.datasets.image_set import ImageSet


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScale:
    """What the numbers of V depth maps mean: a number v that is not 0 is ``offset + scale * v`` metres; 0 is unknown.

    scale: (V,) float64. along_ray: the distance from the camera's centre, and not along its optical axis.
    """

    scale: NDArray[np.float64]
    offset: float = 0.0
    along_ray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSet:
    """V posed RGB-D views of scenes, and P pairs of views of one scene each.

    depths: a map of every view, of its picture's size, with (V, 3, 3) intrinsics in pixels of the picture.
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
