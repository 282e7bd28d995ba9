"""Crops of images, such as the boxes of ARO, read as images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pytest_clip_robust.datasets.images.decoding import to_rgb
from pytest_clip_robust.datasets.images.reader import ImageReader

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
        """Return the file of image `index`."""
        content, box = self.read(self.sources[index]), self.boxes[index]
        if box is None:
            return content
        with Image.open(io.BytesIO(content)) as whole:
            part = to_rgb(whole).crop(box)
        buffer = io.BytesIO()
        part.save(buffer, "BMP")
        return buffer.getvalue()
