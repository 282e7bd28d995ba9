"""Readers: encoded images by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass


class ImageReader(Protocol):
    """Reads one image's encoded bytes by position; must survive a fork or a pickle into a worker process."""

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file of image `index`."""


class TakenReader:
    """Reads another reader's images at other positions."""

    def __init__(self, read: ImageReader, positions: NDArray[np.int64]) -> None:
        self._read, self._positions = read, positions

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file at position `index` of the new order."""
        return self._read(int(self._positions[index]))
