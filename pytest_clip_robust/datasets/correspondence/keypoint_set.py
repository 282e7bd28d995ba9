"""A KeypointSet: objects of a few classes with named points, and which of them are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.sources.reading import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointSet:
    """V pictures of objects with up to K keypoints each, and P pairs of pictures of one class each.

    images: their labels are the objects' classes.
    points: (V, K, 2) float32, x and y in pixels of the picture, NaN where a keypoint is not there or not seen; the k-th
        keypoint means the same in all pictures of a class.
    boxes: (V, 4) float32 left, top, right and bottom of the object in pixels.
    pairs: (P, 2) int64 positions of source and target.
    viewpoints: (P,) int64, how much the point of view changes: 0, 1 or 2 as in SPair-71k, or -1 where no one says.
    """

    images: ImageSet
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    pairs: NDArray[np.int64]
    viewpoints: NDArray[np.int64]
    fingerprint: str

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name


Point = tuple[float, float]
"""x and y in pixels of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointRows:
    """V pictures of objects as the files have them, nothing decoded or checked.

    pictures: their labels are the names of the objects' classes.
    points: of every picture, the keypoints that are seen, by a name that means the same in all pictures of a class.
    boxes: (V, 4) left, top, right and bottom of the object.
    instances: V names of objects; a name of its own where nothing says which pictures show the same one.
    pairs: (P, 2) positions, and viewpoints: (P,), as in a KeypointSet; None where the files list none.
    """

    pictures: Rows
    points: Sequence[Mapping[str, Point]]
    boxes: NDArray[np.float64]
    instances: Sequence[str]
    pairs: NDArray[np.int64] | None = None
    viewpoints: NDArray[np.int64] | None = None
