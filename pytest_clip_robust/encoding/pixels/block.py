"""Blocks of the pixel cache: the resized pixels of several images as one memory-mapped safetensors file.

Digests come first in the file, so that reading the first pages tells which images it holds. Each image has a checksum
over its digest and pixels: a damaged image is always detected, and the other images of the block can still be read.
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
    """The bytes differ from those that were written; the message says how."""


def pack(digests: Sequence[str], pixels: Sequence[NDArray[np.uint8]]) -> bytes:
    """Return the content of a block with the (H, W, 3) `pixels` of N images, all of one size."""
    return save(
        {
            # In alphabetical order, as safetensors writes tensors of one type.
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
    """An open block; its pages are read on demand."""

    def __init__(self, path: Path) -> None:
        """Open the block at `path`.

        Raises:
            DamagedBlockError: the file is not a block.
            OSError: the file cannot be read.
        """
        try:
            self._file = _open(path)
            self.digests = [row.tobytes().hex() for row in self._table("digests")]
            self._checksums = self._table("checksums")
            self._pixels = self._file.get_slice("pixels")
            shape = self._pixels.get_shape()
        except SafetensorError as error:
            raise DamagedBlockError(f"it is not a safetensors file of pixels ({error})") from error
        if len(self._checksums) != len(self.digests) or len(shape) != 4 or shape[0] != len(self.digests):
            raise DamagedBlockError("its tables and its pixels differ in length")

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return the (H, W, 3) pixels of the image at `row`.

        Raises:
            DamagedBlockError: the pixels differ from those that were written.
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
            raise DamagedBlockError(f"its {name} are not rows of {DIGEST_BYTES} bytes")
        return table


def _open(path: Path) -> Any:
    return safe_open(path, framework="numpy")


def _as_row(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
