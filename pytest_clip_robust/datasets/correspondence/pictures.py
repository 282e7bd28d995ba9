"""Images adapted to their cameras and depth maps when they are read: orientation, transparency and size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PIL import Image, ImageOps

from pytest_clip_robust.datasets.images.decoding import to_rgb
from pytest_clip_robust.datasets.images.depth import NUMPY_MAGIC, decode_depth
from pytest_clip_robust.datasets.images.digests import THREADS
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.rows import FileReader
from pytest_clip_robust.errors import DataError

Size = tuple[int, int]
"""Width and height in pixels."""

ORIENTATION = 0x0112
ROTATED = frozenset({5, 6, 7, 8})
"""Values of the EXIF orientation that exchange width and height."""


@runtime_checkable
class SizedReader(Protocol):
    """An ImageReader that knows the sizes of its images."""

    def size(self, index: int) -> Size:
        """Return the width and height of image `index` as it is returned."""


@dataclass(frozen=True, slots=True)
class AdaptedReader:
    """Reads another reader's images in the form that belongs to their cameras and depth maps.

    Transparent pixels become white. upright: apply the EXIF orientation. sizes: resize to these sizes, with a filter
    that averages over the pixels it covers. An image that needs no change is returned as it is, others as BMP, which
    is lossless.
    """

    read: ImageReader
    upright: bool = False
    sizes: Sequence[Size] | None = None

    def __call__(self, index: int, /) -> bytes:
        """Return the file of image `index`."""
        content = self.read(index)
        with opened(io.BytesIO(content)) as image:
            adapted = self._adapt(image, index)
            if adapted is image:
                return content
            buffer = io.BytesIO()
            to_rgb(adapted).save(buffer, "BMP")
        return buffer.getvalue()

    def size(self, index: int) -> Size:
        """Return the width and height of image `index` as it is returned."""
        if self.sizes is not None:
            return self.sizes[index]
        with _header(self.read, index) as image:
            rotated = self.upright and image.getexif().get(ORIENTATION) in ROTATED
            return image.size[::-1] if rotated else image.size

    def _adapt(self, image: Image.Image, index: int) -> Image.Image:
        adapted = image
        if self.upright and image.getexif().get(ORIENTATION, 1) != 1:
            adapted = ImageOps.exif_transpose(adapted)
        if adapted.has_transparency_data:
            layer = adapted.convert("RGBA")
            adapted = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        if self.sizes is not None and adapted.size != self.sizes[index]:
            adapted = to_rgb(adapted).resize(self.sizes[index], Image.Resampling.BILINEAR)
        return adapted


def picture_size(read: ImageReader, index: int) -> Size:
    """Return the width and height of an image or a depth map, usually from the first bytes of its file.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    if isinstance(read, SizedReader):
        return read.size(index)
    if not isinstance(read, FileReader) or read.paths[index].endswith(".npy"):
        content = read(index)
        if content.startswith(NUMPY_MAGIC):
            height, width = decode_depth(content).shape
            return width, height
    with _header(read, index) as image:
        return image.size


def picture_sizes(
    read: ImageReader, samples: Sequence[str], where: str, *, only: Sequence[int] | None = None
) -> list[Size]:
    """Return the sizes of a reader's images or depth maps, of all or of the positions `only`.

    Raises:
        DataError: as `picture_size`; the message begins with `where` and names the sample.
    """

    def size(index: int) -> Size:
        try:
            return picture_size(read, index)
        except (DataError, OSError) as error:
            raise DataError(f"{where} {samples[index]!r}: {error}") from error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(size, range(len(samples)) if only is None else only))


@contextmanager
def _header(read: ImageReader, index: int) -> Iterator[Image.Image]:
    source = read.paths[index] if isinstance(read, FileReader) else io.BytesIO(read(index))
    with opened(source) as image:
        yield image


@contextmanager
def opened(source: str | io.BytesIO) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        DataError: Pillow cannot read it.
    """
    try:
        with Image.open(source) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"it has more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,} pixels: shrink it") from None
    except (OSError, ValueError, SyntaxError) as error:
        reason = " ".join(str(error).replace(repr(source), "the file").split())
        raise DataError(f"it cannot be decoded ({reason}): replace or remove it") from error
