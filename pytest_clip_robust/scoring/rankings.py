"""Images and captions ranked against each other, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.ranks import Ranks, rank_both

Way = Literal["image_to_text", "text_to_image"]


WAYS: tuple[Way, ...] = ("image_to_text", "text_to_image")


MISSES_KEPT = 10


WORDS_SHOWN = 60
"""Characters of a caption in a list of misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedImages:
    """The features of N images and M captions of any length, and which belong together.

    images: (N, D); captions: (M, D). pairs: (P, 2) positions of image and caption.
    image_names, texts: what they are, for people. cut: how many captions the model cut at its context's end.
    scale: what turns the model's cosines into logits.

    Raises:
        MeasurementError: shapes disagree.
    """

    dataset: str
    images: NDArray[np.float32]
    captions: NDArray[np.float32]
    pairs: Ints
    image_names: Sequence[str]
    texts: Sequence[str]
    cut: int = 0
    scale: float = 1.0
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"captioned images {self.dataset!r}"
        if len(self.images) != len(self.image_names) or len(self.captions) != len(self.texts):
            raise MeasurementError(
                f"{where}: features of {len(self.images)} images with {len(self.image_names)} names, and of "
                f"{len(self.captions)} captions with {len(self.texts)} texts"
            )
        if self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or not len(self.pairs):
            raise MeasurementError(f"{where}: pairs of shape {self.pairs.shape}; expected (P, 2), P at least 1")
        highest = self.pairs.max(axis=0)
        if self.pairs.min() < 0 or highest[0] >= len(self.images) or highest[1] >= len(self.captions):
            raise MeasurementError(
                f"{where}: a pair points beyond {len(self.images)} images or {len(self.texts)} captions"
            )

    @property
    def clusters(self) -> tuple[Ints, Ints]:
        """Number the groups of images (N,) and captions (M,) that share captions or images.

        One image and its captions are a group, unless a caption belongs to several images.
        """
        n, m = len(self.images), len(self.captions)
        ones = np.ones(len(self.pairs), np.int8)
        links = coo_array((ones, (self.pairs[:, 0], n + self.pairs[:, 1])), shape=(n + m, n + m))
        _, group = connected_components(links, directed=False)
        return group[:n].astype(np.int64), group[n:].astype(np.int64)

    @property
    def caption_names(self) -> list[str]:
        """Name every caption by its first image, its place among that image's captions, and its words."""
        names = [""] * len(self.texts)
        seen = np.zeros(len(self.images), np.int64)
        for image, caption in self.pairs.tolist():
            names[caption] = (
                names[caption] or f"{self.image_names[image]}#{seen[image]}: {shorten(self.texts[caption])}"
            )
            seen[image] += 1
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Where the right candidates of Q queries rank, one way.

    found: of Q queries. right: (Q,) how many of the candidates are right; clusters: (Q,) which queries go together.
    samples: Q names of queries; candidate_names: C names. cut: how many captions the model cut at its context's end.
    """

    dataset: str
    way: Way
    found: Ranks
    right: Ints
    clusters: Ints
    samples: Sequence[str]
    candidate_names: Sequence[str]
    scale: float = 1.0
    cut: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.samples)


def rank(found: CaptionedImages) -> dict[Way, Ranking]:
    """Rank both ways.

    Raises:
        MeasurementError: a feature has no direction, or an image or a caption belongs to nothing.
    """
    of_images, of_captions = rank_both(found.images, found.captions, found.pairs)
    pairs, groups = np.unique(found.pairs, axis=0), found.clusters
    images, captions = found.image_names, found.caption_names
    sides: Mapping[Way, tuple[Ranks, int, Sequence[str], Sequence[str]]] = {
        "image_to_text": (of_images, 0, images, captions),
        "text_to_image": (of_captions, 1, captions, images),
    }
    return {
        way: Ranking(
            dataset=found.dataset,
            way=way,
            found=ranks,
            right=np.bincount(pairs[:, side]),
            clusters=groups[side],
            samples=queries,
            candidate_names=candidates,
            scale=found.scale,
            cut=found.cut,
            provenance=found.provenance,
        )
        for way, (ranks, side, queries, candidates) in sides.items()
    }


def shorten(text: str) -> str:
    """Cut a caption to what fits a line.

    >>> shorten("a cat " * 20)
    'a cat a cat a cat a cat a cat a cat a cat a cat a cat a cat…'
    """
    line = " ".join(text.split())
    return line if len(line) <= WORDS_SHOWN else f"{line[: WORDS_SHOWN - 1].rstrip()}…"
