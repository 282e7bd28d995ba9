"""Cropping and resizing of pictures for dense features, and the grid of points on a resized picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.errors import DataError

SIDE_MULTIPLE = 16
"""Sides of the resized picture are multiples of it, so that all usual patch sizes divide the grid (almost) evenly."""

STRIDE = 4
"""Pixels of the resized picture from one point of the grid to the next."""


@dataclass(frozen=True, slots=True)
class Resize:
    """A resize of the `box` (left, top, right, bottom; whole pixels) of a picture to `width` x `height` pixels."""

    box: tuple[int, int, int, int]
    width: int
    height: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the point grid."""
        return self.height // STRIDE, self.width // STRIDE

    @property
    def scale(self) -> tuple[float, float]:
        """Resized pixels per pixel of the picture, horizontally and vertically."""
        left, top, right, bottom = self.box
        return self.width / (right - left), self.height / (bottom - top)

    def apply(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Return the (height, width, 3) pixels that the model gets, resized bicubic with antialiasing."""
        return np.array(picture.resize((self.width, self.height), Image.Resampling.BICUBIC, box=self.box))

    def grid_pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows (H,) and columns (W,) of the picture's pixels that contain the points of the grid."""
        left, top, right, bottom = self.box
        rows, columns = self.grid
        down = top + ((np.arange(rows) + 0.5) / rows * (bottom - top)).astype(np.int64)
        across = left + ((np.arange(columns) + 0.5) / columns * (right - left)).astype(np.int64)
        return down, across

    def to_resized(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert (..., 2) points, x and y, from pixels of the picture to pixels of the resized picture."""
        return (np.asarray(points, np.float64) - self.box[:2]) * self.scale


def resize_for(width: int, height: int, *, size: int, box: tuple[int, int, int, int] | None = None) -> Resize:
    """Return the Resize of a picture of `width` x `height` pixels, or of a `box` in it, to a longer side of `size`.

    Raises:
        DataError: the box is empty or extends outside the picture.
    """
    left, top, right, bottom = box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(f"the box ({left}, {top}, {right}, {bottom}) is not inside the picture of {width}x{height}")
    longer = max(right - left, bottom - top)
    across, down = (
        max(2 * SIDE_MULTIPLE, round(side * size / longer / SIDE_MULTIPLE) * SIDE_MULTIPLE)
        for side in (right - left, bottom - top)
    )
    return Resize((left, top, right, bottom), across, down)
