"""Image-text retrieval: recall and ranks of captions for images, and of images for captions.

The direction is in every metric's id: ``image_to_text`` ranks captions, ``text_to_image`` ranks images. A query is
correct at K if any of its true candidates is among the first K; of equal scores the lower index ranks first.

The captions of one image are not independent: intervals of ``text_to_image`` treat them as one cluster (see
`stats.clusters`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric, Miss
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.rankings import MISSES_KEPT, Ranking
from pytest_clip_robust.stats import clusters

RECALLS = (1, 5, 10)

RECALL_1 = Metric("retrieval.recall_at_1_{way}", direction="higher", tolerance=0.01, headline=True)
RECALL_K = Metric("retrieval.recall_at_{k}_{way}", direction="higher", tolerance=0.01, headline=False)
MEDIAN_RANK = Metric("retrieval.median_rank_{way}", direction="lower", tolerance=1.0, headline=False)
MEAN_RANK = Metric("retrieval.mean_rank_{way}", direction="lower", tolerance=1.0, headline=False)


def recall(ranking: Ranking, k: int) -> Measurement:
    """Measure the share of queries with a true candidate among the first `k`, as ``retrieval.recall_at_<k>_<way>``.

    `details` has the number of candidates and the recall of a random order. The confidence of a miss is the softmax
    probability of the highest false candidate against the best true one.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``.
    """
    candidates = len(ranking.candidate_names)
    if not 1 <= k < candidates:
        raise MeasurementError(
            f"recall at {k} on {ranking.dataset!r} is not defined among {candidates} candidates; "
            f"expected k from 1 to {candidates - 1}"
        )
    hit = ranking.found.ranks <= k
    chance = float(_chance(ranking.right, candidates, k).mean())
    return _measurement(
        ranking,
        RECALL_1 if k == 1 else RECALL_K.named(k=k, way=ranking.way),
        float(hit.mean()),
        clusters.proportion_interval(hit, ranking.clusters),
        outcomes=hit.astype(np.float32),
        misses=_worst_misses(ranking, ~hit),
        chance=chance,
    )


def median_rank(ranking: Ranking) -> Measurement:
    """Measure the median rank of the best true candidate, 1 being best, as ``retrieval.median_rank_<way>``."""
    ranks = ranking.found.ranks.astype(np.float64)
    interval = clusters.median_interval(ranks, ranking.clusters)
    return _measurement(ranking, MEDIAN_RANK, float(np.median(ranks)), interval)


def mean_rank(ranking: Ranking) -> Measurement:
    """Measure the mean rank of the best true candidate, 1 being best, as ``retrieval.mean_rank_<way>``.

    In a random order, the first of G true ones among N candidates has the expected rank ``(N + 1) / (G + 1)``. `plot`
    has the distribution of ranks: the ``share`` of queries with a rank from ``first`` to ``last``, for the ranks 1, 2,
    3 to 4, 5 to 8 and so on.
    """
    ranks, candidates = ranking.found.ranks.astype(np.float64), len(ranking.candidate_names)
    interval = clusters.mean_interval(ranks, ranking.clusters, bounds=(1.0, float(candidates)))
    evidence = clusters.mean_evidence(ranking.dataset, ranks.astype(np.float32), ranking.clusters)
    # A cluster's number in the evidence is not a rank.
    alone = len(np.unique(ranking.clusters)) == len(ranks)
    stored = (lambda strata: _distribution(strata[0]["outcome"], candidates)) if alone else None
    return _measurement(
        ranking,
        MEAN_RANK,
        float(ranks.mean()),
        interval,
        outcomes=ranks.astype(np.float32),
        evidence=replace(evidence, plot=stored),
        details={"worst": float(ranks.max())},
        plot=_distribution(ranks, candidates),
        chance=float(((candidates + 1) / (ranking.right + 1)).mean()),
    )


def _measurement(
    ranking: Ranking,
    metric: Metric,
    value: float,
    interval: Interval,
    *,
    outcomes: NDArray[np.float32] | None = None,
    misses: tuple[Miss, ...] = (),
    evidence: Evidence | None = None,
    details: Mapping[str, float] | None = None,
    plot: Mapping[str, Floats] | None = None,
    chance: float | None = None,
) -> Measurement:
    if evidence is None and outcomes is not None:
        evidence = clusters.mean_evidence(ranking.dataset, outcomes, ranking.clusters)
    more: dict[str, float] = {"candidates": len(ranking.candidate_names), **(details or {})}
    if ranking.truncated:
        more["captions_truncated"] = ranking.truncated
    return Measurement.of(
        ranking,
        metric.named(way=ranking.way),
        value,
        interval,
        outcomes=outcomes,
        samples=ranking.samples,
        evidence=evidence,
        misses=misses,
        details=more,
        plot=plot,
        chance=chance,
    )


def _distribution(ranks: NDArray[Any], candidates: int) -> dict[str, Floats]:
    """Return the share of (Q,) ranks in bins that double in width: 1, 2, 3 to 4, 5 to 8, up to all candidates."""
    last = np.minimum(2 ** np.arange(math.ceil(math.log2(candidates)) + 1), candidates)
    bins = np.searchsorted(last, ranks.astype(np.float64))
    first = np.append(1, last[:-1] + 1)
    share = np.bincount(bins, minlength=len(last)) / len(ranks)
    return {"first": first.astype(np.float64), "last": last.astype(np.float64), "share": share}


def _chance(right: Ints, candidates: int, k: int) -> NDArray[np.float64]:
    """Return (Q,) probabilities that a random order has one of `right` true candidates among its first `k`."""
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
