"""A CaptionSet: images, captions, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.image_set import ImageSet


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSet:
    """N images and M captions, any number of captions an image and images a caption.

    captions: M texts. pairs: (P, 2) int64, positions of an image and a caption that belong together; every image and
    every caption is in at least one.
    fingerprint: hex digest of images, captions and pairs; a set with another one is another set.
    remarks: one line on whatever about the set is worth saying once.
    """

    images: ImageSet
    captions: Sequence[str]
    pairs: NDArray[np.int64]
    fingerprint: str
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name
