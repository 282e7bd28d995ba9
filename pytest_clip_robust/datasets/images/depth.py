"""Depth maps of images: their files, their cameras, and how they are decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.digests import content_digests
from pytest_clip_robust.datasets.images.reader import ImageReader, TakenReader
from pytest_clip_robust.errors import DataError

SUFFIXES = (".png", ".npy", ".tif", ".tiff")
DEPTH_MODES = frozenset({"I;16", "I;16B", "I", "F", "L"})
NUMPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, kw_only=True)
class Depths:
    """Depth along the optical axis of N images, in the data set's own unit.

    read: position -> the depth map's file, undecoded. stamps, samples, memory: as for `content_digests`.
    intrinsics: (N, 3, 3) float32 in pixels of the images, or None.
    source: identifies the maps instead of their content, such as the name of the model that made them.
    """

    read: ImageReader
    stamps: Sequence[str | None]
    samples: Sequence[str]
    memory: Path | None = None
    intrinsics: NDArray[np.float32] | None = None
    source: str = ""

    @cached_property
    def digests(self) -> list[str]:
        """The identities of N depth maps: the SHA-256 of their files, which are read on first use, or `source`.

        Raises:
            DataError: a file cannot be read; the message names the sample.
        """
        if self.source:
            return [self.source] * len(self.samples)
        return content_digests(self.read, self.stamps, self.samples, memory=self.memory)

    def take(self, positions: Ints) -> Depths:
        """Return the depth maps at `positions`, in that order."""
        places = positions.tolist()
        return replace(
            self,
            read=TakenReader(self.read, positions),
            stamps=[self.stamps[i] for i in places],
            samples=[self.samples[i] for i in places],
            intrinsics=None if self.intrinsics is None else self.intrinsics[positions],
        )


def decode_depth(content: bytes) -> NDArray[np.float32]:
    """Return the (H, W) float32 values of a one-channel image, usually 16 bit, or of a NumPy file.

    Raises:
        DataError: `content` is neither.
    """
    try:
        if content.startswith(NUMPY_MAGIC):
            depth = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            image = Image.open(io.BytesIO(content))
            if image.mode not in DEPTH_MODES:
                raise DataError(f"its depth map is an image of mode {image.mode}: expected one channel, such as 16 bit")
            depth = np.asarray(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError("its depth map has more pixels than Pillow's limit: shrink it") from None
    except MemoryError:  # a header of a few bytes can ask for any size
        raise DataError("its depth map asks for more memory than there is: replace it") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"its depth map cannot be decoded ({' '.join(str(error).split())})") from error
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.number) or np.iscomplexobj(depth):
        raise DataError(f"its depth map has shape {depth.shape} and type {depth.dtype}: expected (H, W) of numbers")
    return np.asarray(depth, np.float32)
