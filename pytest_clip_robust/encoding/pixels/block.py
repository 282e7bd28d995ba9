"""A block of the pixel cache: some images' resized pixels as one safetensors file, which is mapped into memory.

Digests lie in front, so that a block's images are known from its first pages. Every image has a checksum of its own,
over its digest and its pixels: whatever byte is damaged, no image is ever read wrong, and those it does not touch are
still read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

FORMAT_VERSION = "1"

DIGEST_BYTES = 32


class DamagedBlockError(Exception):
    """The bytes are not those that were written; the message says how."""


def pack(digests: Sequence[str], pixels: Sequence[NDArray[np.uint8]]) -> bytes:
    """Return the content of the block that holds the (H, W, 3) `pixels` of N images."""
    return save(
        {
            # In alphabetical order, which is how safetensors lays out tensors of one type.
            "checksums": np.stack([_as_row(checksum(*pair)) for pair in zip(digests, pixels, strict=True)]),
            "digests": np.stack([_as_row(bytes.fromhex(digest)) for digest in digests]),
            "pixels": np.stack(pixels),
        },
        metadata={"format": FORMAT_VERSION},
    )


def checksum(digest: str, pixels: NDArray[np.uint8]) -> bytes:
    """Return the SHA-256 of an image's digest, shape and pixels."""
    whole = hashlib.sha256(f"{digest} {pixels.shape} ".encode())
    whole.update(np.ascontiguousarray(pixels).data)
    return whole.digest()


class Block:
    """A block that is open; its pages are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Open the block at `path`.

        Raises:
            DamagedBlockError: it is none.
            OSError: it cannot be read.
        """
        try:
            self._file = _open(path)
            self.digests = [row.tobytes().hex() for row in self._table("digests")]
            self._checksums = self._table("checksums")
            self._pixels = self._file.get_slice("pixels")
            shape = self._pixels.get_shape()
        except SafetensorError as error:
            raise DamagedBlockError(f"it is no safetensors file of pixels ({error})") from error
        if len(self._checksums) != len(self.digests) or len(shape) != 4 or shape[0] != len(self.digests):
            raise DamagedBlockError("its tables have other lengths than its pixels")

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return the (H, W, 3) pixels of the image at `row`.

        Raises:
            DamagedBlockError: they are not those that were written.
        """
        try:
            pixels: NDArray[np.uint8] = self._pixels[row]
        except (SafetensorError, OSError) as error:
            raise DamagedBlockError(f"its pixels cannot be read ({error})") from error
        if checksum(self.digests[row], pixels) != self._checksums[row].tobytes():
            raise DamagedBlockError("pixels do not match their checksum")
        return pixels

    def _table(self, name: str) -> NDArray[np.uint8]:
        table: NDArray[np.uint8] = self._file.get_tensor(name)
        if table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != DIGEST_BYTES:
            raise DamagedBlockError(f"its {name} are no rows of {DIGEST_BYTES} bytes")
        return table


def _open(path: Path) -> Any:
    return safe_open(path, framework="numpy")


def _as_row(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
