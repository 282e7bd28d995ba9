"""Readers: encoded images by position."""

from __future__ import annotations

from typing import Protocol

from pytest_clip_robust.core.arrays import Ints


class ImageReader(Protocol):
    """Reads one image's encoded bytes by position; must survive a fork or a pickle into a worker process."""

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file of image `index`."""


class TakenReader:
    """Reads the images of another reader at the given positions."""

    def __init__(self, read: ImageReader, positions: Ints) -> None:
        self._read, self._positions = read, positions

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file at position `index` of the new order."""
        return self._read(int(self._positions[index]))
