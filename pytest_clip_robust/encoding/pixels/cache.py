"""The pixel cache: resized images as 8-bit pixels, kept so that the next model that resizes alike decodes nothing.

A folder a way of resizing, immutable blocks of about 16 MB in it, images found by content digest. Blocks are written
whole and renamed into place, and no lock is held: processes that keep the same image at the same time keep it twice.
Losing any of it costs time and never a number, so every failure is said once and done without.
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
"""111 images of 224 x 224: a thousand files hold 16 GB, and an unfinished block holds up little."""

RESERVE_BYTES = 2**30
"""What is left free on the disk for those who need it more."""

OPEN_BLOCKS = 64
ABANDONED_SECONDS = 3600.0
"""A half-written file of this age has no writer any more."""


class PixelCache:
    """Resized pixels in a local folder of at most `limit` bytes; the blocks that were not used for longest make room.

    What was used since this cache was opened is never thrown out for something new: a set larger than the limit would
    else push itself out, image by image, and find nothing the next time.
    """

    def __init__(self, root: Path, *, limit: int, notice: Notice = log_notice) -> None:
        """Open the cache at `root`, which need not exist yet."""
        self._root, self._limit, self._notice = root, limit, notice
        self._opened = time.time()
        self._digests: dict[Path, list[str]] = {}
        self._thrown_away: set[Path] = set()
        self._writable = True

    def shelf(self, way: str, digests: Sequence[str]) -> PixelShelf:
        """Return the shelf of this `way` of resizing; what it has of the images counts as used now."""
        wanted = set(digests)
        place_of = {}
        for path in self._blocks(self._folder(way)):
            rows = [(digest, row) for row, digest in enumerate(self._digests_of(path)) if digest in wanted]
            if rows:
                _touch(path)
                place_of.update({digest: (path, row) for digest, row in rows})
        return PixelShelf(self, way, place_of)

    def keep(self, way: str, digests: Sequence[str], pixels: Sequence[NDArray[np.uint8]]) -> None:
        """Keep the (H, W, 3) pixels of images as one block, if there is room."""
        if not self._writable:
            return
        content = pack(digests, pixels)
        try:
            if self._make_room(len(content)):
                write_whole(self._folder(way) / f"{uuid.uuid4().hex}.safetensors", content)
        except OSError as error:
            self._stop(f"cannot be written ({error.strerror or error})")

    def set_aside(self, path: Path, reason: str) -> None:
        """Throw a damaged block away, and say so once; its images are decoded again."""
        if path not in self._thrown_away:
            self._notice(f"pixel cache: {path} is thrown away: {reason}; its images are decoded again")
        self._thrown_away.add(path)
        self._digests.pop(path, None)
        _unlink(path)

    def _folder(self, way: str) -> Path:
        return self._root / hashlib.sha256(f"{FORMAT_VERSION} {way}".encode()).hexdigest()[:32]

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
                pass  # another process threw it out
        return self._digests.get(path, [])

    def _make_room(self, size: int) -> bool:
        """Throw out what was not used for longest until `size` more bytes fit; return whether they do."""
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
        return self._stop(f"its {self._limit / 2**30:.3g} GiB are full of what this run uses")

    def _stop(self, reason: str) -> bool:
        """Keep nothing more, and say so once."""
        self._writable = False
        self._notice(f"pixel cache {self._root}: {reason}: no more images are kept; see --clip-pixel-cache")
        return False


class PixelShelf:
    """The images of one job in one way of resizing: those that the cache has, and a place for the others.

    Worker processes read from their copy; only the process that opened the shelf puts images on it.
    """

    def __init__(self, cache: PixelCache | None, way: str, place_of: Mapping[str, tuple[Path, int]]) -> None:
        """Have the images of `place_of`: digest -> block and row."""
        self._cache, self._way, self._place_of = cache, way, place_of
        self._open: LRUCache[Path, Block] = LRUCache(OPEN_BLOCKS)
        self._digests: list[str] = []
        self._pixels: list[NDArray[np.uint8]] = []

    def __contains__(self, digest: str) -> bool:
        return digest in self._place_of

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelShelf, (None, self._way, self._place_of)

    def read(self, digest: str) -> NDArray[np.uint8]:
        """Return the (H, W, 3) pixels of an image that is here.

        Raises:
            DamagedBlockError: they are not those that were kept.
            OSError: the block is gone or cannot be read.
        """
        path, row = self._place_of[digest]
        block = self._open.get(path)
        if block is None:
            block = self._open[path] = Block(path)
        if block.digests[row : row + 1] != [digest]:
            raise DamagedBlockError("it holds other images than it did")
        return block.read(row)

    def put(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Keep the (H, W, 3) pixels of an image; they are copied."""
        if self._pixels and self._pixels[0].shape != pixels.shape:
            self.flush()
        self._digests.append(digest)
        self._pixels.append(pixels.copy())
        if len(self._digests) * pixels.nbytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._digests and self._cache is not None:
            self._cache.keep(self._way, self._digests, self._pixels)
        self._digests, self._pixels = [], []

    def set_aside(self, digest: str, reason: str) -> None:
        """Throw the damaged block of an image away."""
        if self._cache is not None:
            self._cache.set_aside(self._place_of[digest][0], reason)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    used: float


def _files(root: Path) -> Iterator[_File]:
    """List the blocks of all ways of resizing; half-written files whose writer is gone are removed."""
    for folder in (Path(entry.path) for entry in os.scandir(root) if entry.is_dir()):
        for entry in os.scandir(folder):
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue  # thrown out by another process just now
            if entry.name.endswith(".part") and time.time() - stat.st_mtime > ABANDONED_SECONDS:
                _unlink(Path(entry.path))
                continue
            yield _File(Path(entry.path), stat.st_size, stat.st_mtime)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return  # a read-only cache: nothing is thrown out of it either


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # a read-only cache
