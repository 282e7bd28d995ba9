"""ImageSet: the images of one data set with their labels and annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.reader import ImageReader, TakenReader


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """N labelled images of C classes.

    read: position -> the image file's bytes (JPEG, PNG, ...), undecoded.
    samples: N file names or row names, for people.
    digests: N SHA-256 hex digests of those bytes: the identity of an image in the feature store.
    labels: (N,) int64 in ``[0, C)``.
    class_names: C names, for people and for prompts. class_ids: C ids, which match the same class in other sets.
    synonyms: C tuples of all names of a class in prompts, or () if each class has one name.
    annotations: named (N,) boolean columns.
    textures: (N,) int64 in ``[0, C)``, the class of the texture in a cue-conflict set; None for other sets.
    fingerprint: hex digest of the digests, labels, classes and annotations; it identifies the set.
    crop_border: pixels to cut from every side before preprocessing (ObjectNet: 2).
    depths: the depth map of every image, or None. remarks: lines for the user about the set.
    """

    name: str
    read: ImageReader
    samples: Sequence[str]
    digests: Sequence[str]
    labels: Ints
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    fingerprint: str
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    textures: Ints | None = None
    synonyms: tuple[tuple[str, ...], ...] = ()
    crop_border: int = 0
    licence: str = ""
    depths: Depths | None = None
    remarks: tuple[str, ...] = ()

    @property
    def prompt_names(self) -> tuple[tuple[str, ...], ...]:
        """C tuples of all names of a class in prompts."""
        return self.synonyms or tuple((name,) for name in self.class_names)

    def __len__(self) -> int:
        return len(self.digests)

    def take(self, positions: Ints) -> ImageSet:
        """Return the images at `positions`, in that order, as a new set; a position can occur more than once."""
        places = positions.tolist()
        digests = [self.digests[i] for i in places]
        whole = "|".join([self.fingerprint, *digests])
        return replace(
            self,
            read=TakenReader(self.read, positions),
            samples=[self.samples[i] for i in places],
            digests=digests,
            labels=self.labels[positions],
            annotations={name: column[positions] for name, column in self.annotations.items()},
            textures=None if self.textures is None else self.textures[positions],
            fingerprint=hashlib.sha256(whole.encode()).hexdigest(),
            depths=None if self.depths is None else self.depths.take(positions),
        )


class SetOfImages:
    """Base of the sets that have more than labels for their `images`: captions that are compared, views, keypoints."""

    __slots__ = ()

    images: ImageSet

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines for the user about the set."""
        return self.images.remarks
