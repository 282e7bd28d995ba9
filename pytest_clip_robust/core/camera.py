"""The check that every camera matrix passes before it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

from pytest_clip_robust.errors import DataError


def check_camera_matrix(matrix: Sequence[Sequence[float]], height: int, width: int) -> None:
    """Refuse a 3 x 3 matrix that cannot belong to an image of this size.

    Raises:
        DataError: the matrix is not that of a pinhole camera, or its principal point is outside the image.
    """
    (fx, skew, cx), (zero, fy, cy), last = matrix
    finite = all(map(math.isfinite, chain.from_iterable(matrix)))
    if not (finite and fx > 0 and fy > 0 and zero == 0 and list(last) == [0, 0, 1]):
        rows = [list(row) for row in matrix]
        raise DataError(
            f"intrinsics {rows}: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels with fx, fy above 0"
        )
    if skew != 0 or not (0 < cx < width and 0 < cy < height):
        raise DataError(
            f"intrinsics with principal point ({cx:g}, {cy:g}) and skew {skew:g} do not match "
            f"an image of {width}x{height}: give those of this resolution"
        )
