"""Transformed images of a data set, made between decoder and model; only their features are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.corruptions.sizes import canvas_size
from pytest_clip_robust.corruptions.transformations import VERSION, transform
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import TRANSFORMATIONS, Transformation, strength_at

Combination = tuple[tuple[Transformation, int], ...]
"""Transformations with their steps, 1 to the number of steps; empty for an image that is only resized."""


@dataclass(frozen=True)
class TransformedImages:
    """Images of a set, each under a combination of transformations.

    requests: M pairs of an image's position in the set and a combination. seed: decides, with the digest of an image,
    about directions and places, and nothing else does.

    Every image is first resized to a shorter side of 224 pixels, if it is larger: so a strength means the same for
    photographs of every size. Transformations are applied in the order of `TRANSFORMATIONS`.

    Raises:
        DataError: a combination contains a transformation twice.
    """

    images: ImageSet
    requests: Sequence[tuple[int, Combination]]
    seed: int = 0

    def __post_init__(self) -> None:
        for _, combination in self.requests:
            if len({name for name, _ in combination}) < len(combination):
                raise DataError(f"{self.images.name}: {combination} contains a transformation twice")

    @property
    def name(self) -> str:
        """Name of the set and the alteration, for messages."""
        return f"{self.images.name}, transformed"

    @cached_property
    def sources(self) -> ImageSet:
        """The M images before they are transformed."""
        return self.images.take(np.array([position for position, _ in self.requests], np.int64))

    @cached_property
    def digests(self) -> Sequence[str]:
        """M digests of image, transformations, strengths, seed and the version of the transformations."""
        return [
            digest(
                {
                    "transformed": VERSION,
                    "image": self.images.digests[position],
                    "by": [[name, strength_at(name, step)] for name, step in in_order(combination)],
                    "seed": self.seed,
                }
            )
            for position, combination in self.requests
        ]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """Return the transformed version of the decoded `image`, which is at `position` of the sources.

        Raises:
            DataError: a transformation or its strength does not exist.
        """
        of_set, combination = self.requests[position]
        size = canvas_size(*image.size)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        key = f"{self.images.digests[of_set]}|{self.seed}"
        for name, step in in_order(combination):
            image = transform(image, name, strength_at(name, step), key=key)
        return image


def in_order(combination: Combination) -> Combination:
    """Return a combination in the order in which its transformations are applied."""
    return tuple(sorted(combination, key=lambda one: TRANSFORMATIONS.index(one[0])))
