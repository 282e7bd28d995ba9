"""Pixel cache: resized images as 8-bit pixels, so that the next model with the same resize decodes no image.

Each kind of resize has a folder of immutable blocks of about 16 MB, and images are found by content digest. Blocks are
written atomically and there is no lock: processes that cache the same image at the same time store it twice. A lost
block costs time and never changes a result, so every failure is reported once and the run continues without the cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from pytest_clip_robust.encoding.pixels.block import FORMAT_VERSION, Block, DamagedBlockError, pack
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.notice import Notice, log_notice

BLOCK_BYTES = 16 * 2**20
"""111 images of 224 x 224 pixels: 1,000 files hold 16 GB, and an unfinished block occupies little memory."""

RESERVE_BYTES = 2**30
"""Disk space that always stays free for other programs."""

OPEN_BLOCKS = 64
ABANDONED_SECONDS = 3600.0
"""A temporary file of this age is removed: its writer has died."""


class PixelCache:
    """Resized pixels in a local folder of at most `limit` bytes; the least recently used blocks are removed.

    Blocks that were used since this cache was opened are never removed. Otherwise a set larger than the limit would
    remove its own images one after the other, and the next run would find none of them.
    """

    def __init__(self, root: Path, *, limit: int, notice: Notice = log_notice) -> None:
        """Open the cache at `root`, which does not have to exist yet."""
        self._root, self._limit, self._notice = root, limit, notice
        self._opened = time.time()
        self._digests: dict[Path, list[str]] = {}
        self._removed: set[Path] = set()
        self._writable = True

    def shelf(self, resize: str, digests: Sequence[str]) -> PixelShelf:
        """Return the shelf of the images with `digests` after the resize with identity `resize`; mark them as used."""
        wanted = set(digests)
        place_of = {}
        for path in self._blocks(self._folder(resize)):
            rows = [(digest, row) for row, digest in enumerate(self._digests_of(path)) if digest in wanted]
            if rows:
                _touch(path)
                place_of.update({digest: (path, row) for digest, row in rows})
        return PixelShelf(self, resize, place_of)

    def keep(self, resize: str, digests: Sequence[str], pixels: Sequence[NDArray[np.uint8]]) -> None:
        """Write the (H, W, 3) pixels of images as one block, if there is room."""
        if not self._writable:
            return
        content = pack(digests, pixels)
        try:
            if self._make_room(len(content)):
                write_whole(self._folder(resize) / f"{uuid.uuid4().hex}.safetensors", content)
        except OSError as error:
            self._stop(f"cannot be written ({error.strerror or error})")

    def set_aside(self, path: Path, reason: str) -> None:
        """Remove a damaged block and report it once; its images are decoded again."""
        if path not in self._removed:
            self._notice(f"pixel cache: {path} is removed: {reason}; its images are decoded again")
        self._removed.add(path)
        self._digests.pop(path, None)
        _unlink(path)

    def _folder(self, resize: str) -> Path:
        return self._root / hashlib.sha256(f"{FORMAT_VERSION} {resize}".encode()).hexdigest()[:32]

    def _blocks(self, folder: Path) -> list[Path]:
        try:
            return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(".safetensors"))
        except OSError:
            return []

    def _digests_of(self, path: Path) -> list[str]:
        if path not in self._digests:
            try:
                self._digests[path] = Block(path).digests
            except DamagedBlockError as error:
                self.set_aside(path, str(error))
            except OSError:
                pass  # another process removed it
        return self._digests.get(path, [])

    def _make_room(self, size: int) -> bool:
        """Remove the least recently used blocks until `size` more bytes fit; return whether they fit."""
        self._root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._root).free < size + RESERVE_BYTES:
            return self._stop(f"less than {RESERVE_BYTES / 2**30:g} GiB is free on its disk")
        files = sorted(_files(self._root), key=lambda file: file.used)
        total = sum(file.size for file in files) + size
        for file in files:
            if total <= self._limit:
                break
            if file.used < self._opened:
                _unlink(file.path)
                total -= file.size
        if total <= self._limit:
            return True
        return self._stop(f"its {self._limit / 2**30:.3g} GiB are full of images that this run uses")

    def _stop(self, reason: str) -> bool:
        """Stop writing, report the reason once, and return False."""
        self._writable = False
        self._notice(f"pixel cache {self._root}: {reason}: no more images are cached; see --clip-pixel-cache")
        return False


class PixelShelf:
    """The cached pixels of the images of one job; the job's other images are added when they have been decoded.

    Worker processes read from a copy. Only the process that opened the shelf adds images to it.
    """

    def __init__(self, cache: PixelCache | None, resize: str, place_of: Mapping[str, tuple[Path, int]]) -> None:
        """Offer the images in `place_of`, which maps a digest to block and row."""
        self._cache, self._resize, self._place_of = cache, resize, place_of
        self._open: LRUCache[Path, Block] = LRUCache(OPEN_BLOCKS)
        self._digests: list[str] = []
        self._pixels: list[NDArray[np.uint8]] = []

    def __contains__(self, digest: str) -> bool:
        return digest in self._place_of

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelShelf, (None, self._resize, self._place_of)

    def read(self, digest: str) -> NDArray[np.uint8]:
        """Return the (H, W, 3) pixels of an image on this shelf.

        Raises:
            DamagedBlockError: the pixels differ from those that were written.
            OSError: the block was removed or cannot be read.
        """
        path, row = self._place_of[digest]
        block = self._open.get(path)
        if block is None:
            block = self._open[path] = Block(path)
        if block.digests[row : row + 1] != [digest]:
            raise DamagedBlockError("it no longer holds the same images")
        return block.read(row)

    def put(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Add a copy of the (H, W, 3) pixels of an image."""
        if self._pixels and self._pixels[0].shape != pixels.shape:
            self.flush()
        self._digests.append(digest)
        self._pixels.append(pixels.copy())
        if len(self._digests) * pixels.nbytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the images that were added since the last write."""
        if self._digests and self._cache is not None:
            self._cache.keep(self._resize, self._digests, self._pixels)
        self._digests, self._pixels = [], []

    def set_aside(self, digest: str, reason: str) -> None:
        """Remove the damaged block of an image."""
        if self._cache is not None:
            self._cache.set_aside(self._place_of[digest][0], reason)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    used: float


def _files(root: Path) -> Iterator[_File]:
    """Yield the blocks of every kind of resize; abandoned temporary files are removed."""
    for folder in (Path(entry.path) for entry in os.scandir(root) if entry.is_dir()):
        for entry in os.scandir(folder):
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue  # another process removed it just now
            if entry.name.endswith(".part") and time.time() - stat.st_mtime > ABANDONED_SECONDS:
                _unlink(Path(entry.path))
                continue
            yield _File(Path(entry.path), stat.st_size, stat.st_mtime)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return  # a read-only cache, where blocks are never removed either


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # a read-only cache
