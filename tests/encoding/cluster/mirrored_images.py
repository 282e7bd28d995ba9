"""Mirrored images, in a module that workers import as well."""

from __future__ import annotations

from PIL import ImageOps


class MirroredImages:
    """The images of a set, mirrored."""

    def __init__(self, images):
        self.sources, self.name = images, "mirrored"
        self.digests = [digest[::-1] for digest in images.digests]

    def __call__(self, image, position):
        return ImageOps.mirror(image)
