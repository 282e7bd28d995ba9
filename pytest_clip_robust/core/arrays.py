"""Array types, and slices that keep work on many rows in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def row_slices(rows: int, size: int = 2048) -> Iterator[slice]:
    """Yield slices of `size` rows each that cover all `rows`; the last one may be shorter.

    >>> [(part.start, part.stop) for part in row_slices(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
