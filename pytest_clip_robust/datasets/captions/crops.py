"""Parts of images, such as ARO's boxes, as images of their own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pytest_clip_robust.datasets.images.reader import ImageReader

Box = tuple[int, int, int, int]
"""Left, upper, right, lower in pixels; what lies outside of the image is black."""


@dataclass(frozen=True, slots=True)
class CropReader:
    """Reads the `boxes` of another reader's images `sources`; an image whole where its box is None.

    A part is handed out as BMP: lossless, and the same bytes whatever version of Pillow wrote them.
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
            part = whole.convert("RGB").crop(box)
        buffer = io.BytesIO()
        part.save(buffer, "BMP")
        return buffer.getvalue()
