"""Captioned images, and the ranks of their captions for images and of their images for captions."""

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
CHARACTERS_SHOWN = 60
"""Of a caption, in a list of misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedImages:
    """The features of N images and M captions, of any length, and the pairs that belong together.

    images: (N, D); captions: (M, D). pairs: (P, 2) positions of an image and of a caption of it.
    image_names, texts: N names and M captions. truncated: the number of captions longer than the model's context.
    scale: the model's factor from cosines to logits.

    Raises:
        MeasurementError: shapes disagree.
    """

    dataset: str
    images: NDArray[np.float32]
    captions: NDArray[np.float32]
    pairs: Ints
    image_names: Sequence[str]
    texts: Sequence[str]
    truncated: int = 0
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
                f"{where}: a pair has a position outside of {len(self.images)} images or {len(self.texts)} captions"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clusters(self) -> tuple[Ints, Ints]:
        """Cluster numbers of images (N,) and of captions (M,).

        An image and its captions are one cluster; images that share a caption are in the same cluster.
        """
        n, m = len(self.images), len(self.captions)
        ones = np.ones(len(self.pairs), np.int8)
        links = coo_array((ones, (self.pairs[:, 0], n + self.pairs[:, 1])), shape=(n + m, n + m))
        _, group = connected_components(links, directed=False)
        return group[:n].astype(np.int64), group[n:].astype(np.int64)

    @property
    def caption_names(self) -> list[str]:
        """M names: a caption's first image, its number among that image's captions, and its words."""
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
    """The ranks of the true candidates of Q queries, in one direction.

    found: the ranks of Q queries. right: (Q,) numbers of true candidates; clusters: (Q,) cluster numbers of queries.
    samples: Q names of queries; candidate_names: C names. truncated: the number of captions longer than the context.
    """

    dataset: str
    way: Way
    found: Ranks
    right: Ints
    clusters: Ints
    samples: Sequence[str]
    candidate_names: Sequence[str]
    scale: float = 1.0
    truncated: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.samples)


def rank(found: CaptionedImages) -> dict[Way, Ranking]:
    """Rank captions for every image, and images for every caption.

    Raises:
        MeasurementError: a feature cannot be normalised, or an image or a caption is in no pair.
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
            truncated=found.truncated,
            provenance=found.provenance,
        )
        for way, (ranks, side, queries, candidates) in sides.items()
    }


def shorten(text: str) -> str:
    """Return a caption shortened to fit on one line.

    >>> shorten("a cat " * 20)
    'a cat a cat a cat a cat a cat a cat a cat a cat a cat a cat…'
    """
    line = " ".join(text.split())
    return line if len(line) <= CHARACTERS_SHOWN else f"{line[: CHARACTERS_SHOWN - 1].rstrip()}…"
