"""Image-text retrieval: is a right caption among the first for an image, a right image among the first for a caption?

The direction is in every metric's id: ``image_to_text`` ranks captions, ``text_to_image`` ranks images. A query is
right at K if any of its right candidates is among the K first; of equal scores the lower index ranks first.

The captions of one image are no independent samples: intervals of ``text_to_image`` count by image, as `stats.clusters`
has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.measurement import Direction, Interval, Measurement, Miss
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.rankings import MISSES_KEPT, Ranking
from pytest_clip_robust.stats import clusters

RECALLS = (1, 5, 10)


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
        about["captions_truncated"] = ranking.cut
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
