"""Image-text retrieval: is a right caption among the first for an image, a right image among the first for a caption?

The direction is in every metric's id: ``image_to_text`` ranks captions, ``text_to_image`` ranks images. A query is
right at K if any of its right candidates is among the K first; of equal scores the lower index ranks first.

The captions of one image are no independent samples: intervals of ``text_to_image`` count by image, as `stats.clusters`
has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.measurement import Direction, Interval, Measurement, Miss, Provenance
from pytest_clip_robust.properties.ranking import Ranks, rank_both
from pytest_clip_robust.stats import clusters

Ints = NDArray[np.int64]
Way = Literal["image_to_text", "text_to_image"]

WAYS: tuple[Way, ...] = ("image_to_text", "text_to_image")
RECALLS = (1, 5, 10)
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


def recall(ranking: Ranking, k: int) -> Measurement:
    """Measure the share of queries with a right candidate among the first `k`, as ``retrieval.recall_at_<k>_<way>``.

    `details` has the number of candidates and the recall of a random order. The confidence of a miss is the
    probability of the wrong candidate against the best right one, the two alone.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``.
    """
    candidates = len(ranking.candidate_names)
    if not 1 <= k < candidates:
        raise MeasurementError(
            f"recall at {k} on {ranking.dataset!r} says nothing among {candidates} candidates; "
            f"expected k from 1 to {candidates - 1}"
        )
    hit = ranking.found.ranks <= k
    return _measurement(
        ranking,
        f"recall_at_{k}",
        float(hit.mean()),
        clusters.proportion_interval(hit, ranking.clusters),
        direction="higher",
        outcomes=hit.astype(np.float32),
        misses=_worst_misses(ranking, ~hit),
        details={"chance": float(_chance(ranking.right, candidates, k).mean())},
    )


def median_rank(ranking: Ranking) -> Measurement:
    """Measure the median rank of the best right candidate, 1 being best, as ``retrieval.median_rank_<way>``."""
    ranks = ranking.found.ranks.astype(np.float64)
    interval = clusters.median_interval(ranks, ranking.clusters)
    return _measurement(ranking, "median_rank", float(np.median(ranks)), interval, direction="lower")


def mean_rank(ranking: Ranking) -> Measurement:
    """Measure the mean rank of the best right candidate, 1 being best, as ``retrieval.mean_rank_<way>``."""
    ranks = ranking.found.ranks.astype(np.float64)
    interval = clusters.mean_interval(ranks, ranking.clusters, bounds=(1.0, float(len(ranking.candidate_names))))
    return _measurement(
        ranking,
        "mean_rank",
        float(ranks.mean()),
        interval,
        direction="lower",
        outcomes=ranks.astype(np.float32),
        details={"worst": float(ranks.max())},
    )


def shorten(text: str) -> str:
    """Cut a caption to what fits a line.

    >>> shorten("a cat " * 20)
    'a cat a cat a cat a cat a cat a cat a cat a cat a cat a cat…'
    """
    line = " ".join(text.split())
    return line if len(line) <= WORDS_SHOWN else f"{line[: WORDS_SHOWN - 1].rstrip()}…"


def _measurement(
    ranking: Ranking,
    name: str,
    value: float,
    interval: Interval,
    *,
    direction: Direction,
    outcomes: NDArray[np.float32] | None = None,
    misses: tuple[Miss, ...] = (),
    details: Mapping[str, float] | None = None,
) -> Measurement:
    about: dict[str, float] = {"candidates": len(ranking.candidate_names), **(details or {})}
    if ranking.cut:
        about["captions_cut"] = ranking.cut
    return Measurement(
        metric=f"retrieval.{name}_{ranking.way}",
        value=value,
        n=len(ranking),
        interval=interval,
        direction=direction,
        dataset=ranking.dataset,
        outcomes=outcomes,
        samples=ranking.samples,
        evidence=None if outcomes is None else clusters.mean_evidence(ranking.dataset, outcomes, ranking.clusters),
        misses=misses,
        details=about,
        provenance=ranking.provenance,
    )


def _chance(right: Ints, candidates: int, k: int) -> NDArray[np.float64]:
    """Return (Q,) probabilities that a random order has one of `right` candidates among its first `k`."""
    missed = np.ones(len(right))
    for drawn in range(k):
        missed *= np.clip(candidates - right - drawn, 0, None) / (candidates - drawn)
    return 1 - missed


def _worst_misses(ranking: Ranking, wrong: NDArray[np.bool_]) -> tuple[Miss, ...]:
    found, names = ranking.found, ranking.candidate_names
    rows = np.flatnonzero(wrong)
    worst = rows[np.argsort(-found.leads[rows], kind="stable")[:MISSES_KEPT]]
    return tuple(
        Miss(
            sample=ranking.samples[row],
            truth=names[found.best[row]],
            predicted=names[found.rivals[row]],
            confidence=float(expit(ranking.scale * max(found.leads[row], 0.0))),
        )
        for row in worst.tolist()
    )
