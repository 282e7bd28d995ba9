"""Pictures made fit for their cameras while they are read: upright, on white, of one size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PIL import Image, ImageOps

from pytest_clip_robust.datasets.images.depth import NUMPY_MAGIC, decode_depth
from pytest_clip_robust.datasets.images.digests import THREADS
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.reading import FileReader
from pytest_clip_robust.errors import DataError

Size = tuple[int, int]
"""Width and height in pixels."""

ORIENTATION = 0x0112
LYING = frozenset({5, 6, 7, 8})
"""Values of EXIF's orientation under which width and height change places."""


@runtime_checkable
class SizedReader(Protocol):
    """An ImageReader that knows how large its images are."""

    def size(self, index: int) -> Size:
        """Return the width and height of image `index` as it is handed out."""


@dataclass(frozen=True, slots=True)
class AdaptedReader:
    """Reads another reader's pictures as their cameras and depth maps see them.

    Transparent pictures lie on white. upright: turned as their EXIF orientation says. sizes: brought to these sizes,
    by averaging over what a pixel covers. What needs none of it is handed out as it is, the rest as BMP: lossless.
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
            adapted.convert("RGB").save(buffer, "BMP")
        return buffer.getvalue()

    def size(self, index: int) -> Size:
        """Return the width and height of image `index` as it is handed out."""
        if self.sizes is not None:
            return self.sizes[index]
        with _header(self.read, index) as image:
            lying = self.upright and image.getexif().get(ORIENTATION) in LYING
            return image.size[::-1] if lying else image.size

    def _adapt(self, image: Image.Image, index: int) -> Image.Image:
        adapted = image
        if self.upright and image.getexif().get(ORIENTATION, 1) != 1:
            adapted = ImageOps.exif_transpose(adapted)
        if adapted.has_transparency_data:
            layer = adapted.convert("RGBA")
            adapted = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        if self.sizes is not None and adapted.size != self.sizes[index]:
            adapted = adapted.convert("RGB").resize(self.sizes[index], Image.Resampling.BILINEAR)
        return adapted


def picture_size(read: ImageReader, index: int) -> Size:
    """Return the width and height of an image or a depth map, as a rule from the first bytes of its file.

    Raises:
        DataError: it cannot be read, or is none.
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
    """Return the sizes of the images or depth maps of a reader, or `only` of those at these positions.

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
    """Open an image file of any form.

    Raises:
        DataError: Pillow cannot read it.
    """
    try:
        with Image.open(source) as image:
            yield image
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(repr(source), "the file").split())
        raise DataError(f"it cannot be decoded ({reason}): replace or remove it") from error
