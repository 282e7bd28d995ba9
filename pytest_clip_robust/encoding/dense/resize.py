"""How a picture is looked at: cropped, resized to a given length of its longer side, with a grid of points on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.errors import DataError

CELL = 16
"""Sides of the resized picture are multiples of it: every usual patch and stride divides the grid evenly, or nearly."""

STRIDE = 4
"""Pixels of the resized picture from one point of the grid to the next."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The part of a picture inside of `box` (left, top, right, bottom; whole pixels), resized to `width` x `height`."""

    box: tuple[int, int, int, int]
    width: int
    height: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the point grid."""
        return self.height // STRIDE, self.width // STRIDE

    @property
    def scale(self) -> tuple[float, float]:
        """Resized pixels a pixel of the picture, across and down."""
        left, top, right, bottom = self.box
        return self.width / (right - left), self.height / (bottom - top)

    def resize(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Return the (height, width, 3) pixels that the model gets, resized bicubic with antialiasing."""
        return np.array(picture.resize((self.width, self.height), Image.Resampling.BICUBIC, box=self.box))

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows (H,) and columns (W,) of the picture's pixels that the grid's points lie in."""
        left, top, right, bottom = self.box
        rows, columns = self.grid
        down = top + ((np.arange(rows) + 0.5) / rows * (bottom - top)).astype(np.int64)
        across = left + ((np.arange(columns) + 0.5) / columns * (right - left)).astype(np.int64)
        return down, across

    def to_resized(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (..., 2) points, x and y in pixels of the picture, in pixels of the resized one."""
        return (np.asarray(points, np.float64) - self.box[:2]) * self.scale


def resize_for(width: int, height: int, *, size: int, box: tuple[int, int, int, int] | None = None) -> Resize:
    """Resize at a picture of `width` x `height` pixels, or at a `box` of it, with `size` pixels on the longer side.

    Raises:
        DataError: the box is empty or reaches outside of the picture.
    """
    left, top, right, bottom = box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(f"the box ({left}, {top}, {right}, {bottom}) does not lie in the picture of {width}x{height}")
    longer = max(right - left, bottom - top)
    across, down = (max(2 * CELL, round(side * size / longer / CELL) * CELL) for side in (right - left, bottom - top))
    return Resize((left, top, right, bottom), across, down)
