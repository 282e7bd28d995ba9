"""An ImageSet: the images of one data set, their labels and annotations, ready to be encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ImageReader(Protocol):
    """Reads one image's encoded bytes by position; must survive a fork or a pickle into a worker process."""

    def __call__(self, index: int, /) -> bytes:
        """Return the undecoded file of image `index`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """N labelled images of C classes.

    read: position -> the image file's bytes (JPEG, PNG, ...), undecoded.
    samples: N file names or row names, for people.
    digests: N SHA-256 hex digests of those bytes: the identity of an image in the feature store.
    labels: (N,) int64 in ``[0, C)``.
    class_names: C names, for people and for prompts; class_ids: C stable ids that match the same class in other sets.
    synonyms: C tuples of all names that a class has in prompts, or () where each has one.
    annotations: named (N,) boolean columns.
    textures: (N,) int64 in ``[0, C)``, the class of the texture in a cue-conflict set; None for other sets.
    fingerprint: hex digest of the digests, labels, class ids and annotations; a set with another one is another set.
    crop_border: pixels to cut from every side before preprocessing (ObjectNet: 2).
    """

    name: str
    read: ImageReader
    samples: Sequence[str]
    digests: Sequence[str]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    fingerprint: str
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    textures: NDArray[np.int64] | None = None
    synonyms: tuple[tuple[str, ...], ...] = ()
    crop_border: int = 0
    licence: str = ""

    @property
    def prompt_names(self) -> tuple[tuple[str, ...], ...]:
        """All names of every class that go into prompts."""
        return self.synonyms or tuple((name,) for name in self.class_names)

    def __len__(self) -> int:
        return len(self.digests)
