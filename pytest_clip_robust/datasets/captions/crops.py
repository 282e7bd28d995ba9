"""Crops of images, such as the boxes of ARO, read as images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.errors import DataError

Box = tuple[int, int, int, int]
"""Left, upper, right, lower in pixels; the part outside the image is black."""


@dataclass(frozen=True, slots=True)
class CropReader:
    """Reads crops of another reader's images: box `boxes[i]` of image `sources[i]`; None is the whole image.

    A crop is returned as BMP: it is lossless, and its bytes do not depend on the version of Pillow.
    """

    read: ImageReader
    sources: Sequence[int]
    boxes: Sequence[Box | None]

    def __call__(self, index: int, /) -> bytes:
        """Return the file of image `index`.

        Raises:
            DataError: the image cannot be decoded, or the box is larger than any image may be.
        """
        content, box = self.read(self.sources[index]), self.boxes[index]
        if box is None:
            return content
        left, upper, right, lower = box
        if (right - left) * (lower - upper) > (Image.MAX_IMAGE_PIXELS or 0):
            raise DataError(f"its box {box} has more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,} pixels")
        part = decode(content).crop(box)
        buffer = io.BytesIO()
        part.save(buffer, "BMP")
        return buffer.getvalue()
