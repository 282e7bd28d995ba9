"""Rows: undecoded images with their labels as the files have them, and readers of image files."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.reader import ImageReader, TakenReader

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".jp2", ".j2k"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".avif", ".heic", ".heif", ".jxl", ".svg", ".exr", ".psd"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}
)
"""Suffixes of images in lower case; Pillow cannot read all of them."""

SETTLED_SECONDS = 2
"""A file changed more recently could change again without a new time of change."""

Label = str | int


@dataclass(frozen=True, slots=True)
class DepthRows:
    """The depth maps of N images.

    stamps: N strings that change whenever the map's bytes change, or None where that cannot be promised.
    """

    read: ImageReader
    stamps: list[str | None]

    def take(self, positions: Ints) -> DepthRows:
        """Return the depth maps at `positions`, in that order."""
        return DepthRows(TakenReader(self.read, positions), [self.stamps[i] for i in positions.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """N images with their labels as the files have them.

    samples: N names for people. labels: N strings, or positions in `names` if that is not None.
    textures: for a cue-conflict set, N names of the classes whose texture the images show.
    annotations: named (N,) boolean columns. intrinsics: (N, 3, 3) float32 in pixels.
    stamps: N strings that change whenever an image's bytes change, or None where that cannot be promised.
    origin: a name for the source, under which digests by stamp are remembered.
    left_out: names of classes that were left out already, as the entry asks. remarks: lines for the user.
    """

    read: ImageReader
    samples: list[str]
    labels: list[Label]
    stamps: list[str | None]
    origin: str
    names: tuple[str, ...] | None = None
    textures: list[Label] | None = None
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    depth: DepthRows | None = None
    intrinsics: NDArray[np.float32] | None = None
    left_out: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, positions: Ints) -> Rows:
        """Return the rows at `positions`, in that order."""
        places = positions.tolist()
        return replace(
            self,
            read=TakenReader(self.read, positions),
            samples=[self.samples[i] for i in places],
            labels=[self.labels[i] for i in places],
            stamps=[self.stamps[i] for i in places],
            textures=None if self.textures is None else [self.textures[i] for i in places],
            annotations={name: column[positions] for name, column in self.annotations.items()},
            depth=None if self.depth is None else self.depth.take(positions),
            intrinsics=None if self.intrinsics is None else self.intrinsics[positions],
        )


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads image files."""

    paths: Sequence[str]

    def __call__(self, index: int, /) -> bytes:
        """Return the content of file `index`."""
        return Path(self.paths[index]).read_bytes()


@dataclass(frozen=True, slots=True)
class ChainReader:
    """Reads the images of several readers, one after the other; `ends` counts the images up to the end of each."""

    readers: Sequence[ImageReader]
    ends: Sequence[int]

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file of image `index` of all."""
        part = bisect_right(self.ends, index)
        return self.readers[part](index - (self.ends[part - 1] if part else 0))


def joined_rows(parts: Mapping[str, Rows]) -> Rows:
    """Return the images of all parts, one part after the other, as rows of one class; samples begin with the part."""
    every = list(parts.values())
    return Rows(
        read=ChainReader([rows.read for rows in every], list(accumulate(map(len, every)))),
        samples=[f"{part}/{sample}" for part, rows in parts.items() for sample in rows.samples],
        labels=[""] * sum(map(len, every)),
        stamps=[None if stamp is None else f"{part}|{stamp}" for part, rows in parts.items() for stamp in rows.stamps],
        origin="|".join(rows.origin for rows in every),
        remarks=tuple(remark for rows in every for remark in rows.remarks),
    )


def file_rows(samples: Sequence[str], paths: Sequence[str], *, origin: str) -> Rows:
    """Return image files as rows of one class without a name."""
    return Rows(
        read=FileReader(list(paths)),
        samples=list(samples),
        labels=[""] * len(paths),
        stamps=file_stamps(paths),
        origin=origin,
    )


def file_stamps(paths: Sequence[str]) -> list[str | None]:
    """Return the stamp of every file; None for one that changed so recently that it could change again unnoticed.

    Size and time of modification can be set to any value; the time of change and the inode cannot, so that a file which
    replaces another one has another stamp.
    """
    settled = time.time_ns() - SETTLED_SECONDS * 10**9
    stamps: list[str | None] = []
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            stamps.append(None)  # reading the file reports what is wrong with it
            continue
        unchanging = max(status.st_mtime_ns, status.st_ctime_ns) < settled
        times = f"{status.st_mtime_ns}|{status.st_ctime_ns}"
        stamps.append(f"{path}|{status.st_size}|{times}|{status.st_ino}" if unchanging else None)
    return stamps
