"""Inverted images, in a module that workers import as well."""

from __future__ import annotations

from PIL import ImageChops


class InvertedImages:
    """The images of a set in the opposite colours."""

    def __init__(self, images):
        self.sources, self.name = images, "inverted"
        self.digests = [digest[::-1] for digest in images.digests]

    def __call__(self, image, position):
        return ImageChops.invert(image)
