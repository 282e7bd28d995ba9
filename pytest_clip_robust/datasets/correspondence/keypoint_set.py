"""Keypoint sets: objects of a few classes with named points, and the pairs of images that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.datasets.images.image_set import ImageSet, SetOfImages
from pytest_clip_robust.datasets.sources.rows import Rows

Point = tuple[float, float]
"""x and y in pixels of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointRows:
    """V images of objects as the files have them, not decoded and not checked.

    pictures: their labels are the names of the objects' classes.
    points: per image, its visible keypoints by a name that means the same in all images of a class.
    boxes: (V, 4) left, top, right and bottom of the object in pixels.
    instances: V names of objects; all different if the files do not say which images show the same object.
    pairs: (P, 2) positions, and viewpoints: (P,), as in a KeypointSet; None if the files list no pairs.
    """

    pictures: Rows
    points: Sequence[Mapping[str, Point]]
    boxes: Floats
    instances: Sequence[str]
    pairs: Ints | None = None
    viewpoints: Ints | None = None

    def take(self, positions: Ints) -> KeypointRows:
        """Return the images at `positions`, which ascend, and the listed pairs of which both images are among them."""
        pairs, viewpoints = self.pairs, self.viewpoints
        if pairs is not None:
            kept = np.isin(pairs, positions).all(axis=1)
            pairs = np.searchsorted(positions, pairs[kept])
            viewpoints = None if viewpoints is None else viewpoints[kept]
        places = positions.tolist()
        return replace(
            self,
            pictures=self.pictures.take(positions),
            points=[self.points[i] for i in places],
            boxes=self.boxes[positions],
            instances=[self.instances[i] for i in places],
            pairs=pairs,
            viewpoints=viewpoints,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointSet(SetOfImages):
    """V images of objects with up to K keypoints each, and P pairs of images of one class each.

    images: their labels are the objects' classes.
    points: (V, K, 2) float32, x and y in pixels of the image, NaN for a keypoint that is missing or not visible; the
        k-th keypoint means the same in all images of a class.
    boxes: (V, 4) float32 left, top, right and bottom of the object in pixels.
    pairs: (P, 2) int64 positions of source and target.
    viewpoints: (P,) int64, how much the point of view changes: 0, 1 or 2 as in SPair-71k, or -1 if it is not known.
    """

    images: ImageSet
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    pairs: Ints
    viewpoints: Ints
    fingerprint: str
