"""A typographic attack on a data set: a wrong class name on every photograph, made between decoder and model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.corruptions.notes import VERSION, paint_note, printable_letters
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError


@dataclass(frozen=True)
class PaintedImages:
    """The N images of a set with the name of another class on a note, and then the N images with a blank note.

    The blank note is of the same size at the same place: it hides what the other one hides, and says nothing.
    seed: decides, with the digest of an image, about its word and its place, and nothing else does.

    Raises:
        DataError: the set has a single class, or a class name cannot be painted.
    """

    images: ImageSet
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.images.class_names) < 2:
            raise DataError(f"{self.images.name}: a single class has no other one whose name could be painted")
        for name in self.images.class_names:
            try:
                printable_letters(name)
            except DataError as error:
                raise DataError(f"{self.images.name}: {error}") from error

    @property
    def name(self) -> str:
        """Name of the set and the alteration, for messages."""
        return f"{self.images.name}, painted words"

    @cached_property
    def sources(self) -> ImageSet:
        """The 2 N images without notes."""
        return self.images.take(np.tile(np.arange(len(self.images)), 2))

    @cached_property
    def words(self) -> Ints:
        """The class (N,) whose name is on an image: each of the C - 1 others is equally likely."""
        others = len(self.images.class_names) - 1
        drawn = np.array([_number(self._key(i), "word") % others for i in range(len(self.images))])
        return drawn + (drawn >= self.images.labels)

    @cached_property
    def digests(self) -> Sequence[str]:
        """2 N digests of image, word, seed and the version of the notes."""
        return [
            digest({**self._identity(i), "blank": blank}) for blank in (False, True) for i in range(len(self.words))
        ]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """Return the decoded `image`, which is at `position` of the sources, with its note.

        Raises:
            DataError: it is too small.
        """
        blank, index = divmod(position, len(self.images))
        key = self._key(index)
        place = (_number(key, "across") / 2**64, _number(key, "down") / 2**64)
        return paint_note(image, self._word(index), place, blank=bool(blank))

    def _word(self, index: int) -> str:
        return self.images.class_names[int(self.words[index])]

    def _key(self, index: int) -> str:
        return f"{self.images.digests[index]}|{self.seed}"

    def _identity(self, index: int) -> dict[str, object]:
        return {
            "painted": VERSION,
            "image": self.images.digests[index],
            "word": printable_letters(self._word(index)),
            "seed": self.seed,
        }


def _number(key: str, purpose: str) -> int:
    """Return a number from 0 to 2^64 - 1 that `key` and `purpose` decide."""
    return int.from_bytes(hashlib.sha256(f"{key}|{purpose}".encode()).digest()[:8], "big")
