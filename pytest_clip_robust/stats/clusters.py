"""Statistics of samples that come in clusters, such as the five captions of one image.

Samples of one cluster are not independent. Variances are those of a mean over clusters drawn at random, by
linearisation (Cochran 1977, section 11).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core import evidence
from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Evidence
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL, student, wilson_of_mean
from pytest_clip_robust.stats.resampling import SEED, percentile_interval

REPLICATES = 1000
_REPLICATES_AT_A_TIME = 50


def cluster_values(values: Floats, clusters: NDArray[np.int64]) -> Floats:
    """Return one number per cluster, (G,), with the mean of (N,) `values` and the spread of drawing whole clusters.

    >>> cluster_values(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    array([0., 1.])
    """
    distinct, place = np.unique(clusters, return_inverse=True)
    mean = values.mean()
    found: Floats = mean + np.bincount(place, weights=values - mean) * (len(distinct) / len(values))
    return found


def variance_of_mean(values: Floats, clusters: NDArray[np.int64]) -> float:
    """Return the variance of the mean of (N,) `values` drawn by whole `clusters` (N,).

    Raises:
        MeasurementError: a single cluster has no spread.

    >>> variance_of_mean(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    0.25
    """
    of_clusters = cluster_values(values, clusters)
    if len(of_clusters) < 2:
        raise MeasurementError("1 cluster has no spread, so its mean has no interval; give at least 2 images")
    return float(of_clusters.var(ddof=1) / len(of_clusters))


def mean_evidence(dataset: str, values: NDArray[Any], clusters: NDArray[np.int64]) -> Evidence:
    """Return the evidence of a mean of (N,) `values`: of samples, or of clusters if these hold several samples.

    A test that took the captions of one image for independent samples would find differences where none exist.
    """
    if len(np.unique(clusters)) == len(values):
        return evidence.mean_evidence(dataset, values)
    return evidence.mean_evidence(dataset, cluster_values(values.astype(np.float64), clusters))


def effective_size(outcomes: NDArray[Any], clusters: NDArray[np.int64], *, trials: int = 0) -> float:
    """Return the number of independent 0/1 outcomes, 1 to N, whose mean varies as that of (N,) outcomes (0-1).

    Outcomes that are shares of `trials` 0/1 outcomes in all can be worth up to that many. Equal outcomes do not show
    how similar a cluster is: every cluster then counts as one outcome.
    """
    p = float(outcomes.mean())
    if p in {0.0, 1.0}:
        return float(len(np.unique(clusters)))
    variance, most = variance_of_mean(outcomes.astype(np.float64), clusters), float(trials or len(outcomes))
    return float(np.clip(p * (1 - p) / variance, 1, most)) if variance > 0 else most


def proportion_interval(
    outcomes: NDArray[Any], clusters: NDArray[np.int64], *, level: float = LEVEL, trials: int = 0
) -> Interval:
    """Return Wilson's interval of the mean of outcomes between 0 and 1, at the clusters' effective size.

    After Korn and Graubard (1998). It keeps its width at 0 and 1, where all clusters are equal. `trials` as for
    `effective_size`.
    """
    alone = len(np.unique(clusters)) == len(outcomes) and (not trials or len(outcomes) == 1)
    size = float(len(outcomes)) if alone else effective_size(outcomes, clusters, trials=trials)
    found = wilson_of_mean(float(outcomes.mean()), size, level=level)
    return Interval(found.low, found.high, level, "Wilson" if alone else "Wilson, clustered")


def mean_interval(
    values: Floats,
    clusters: NDArray[np.int64],
    *,
    level: float = LEVEL,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return Student's interval of the mean of (N,) `values` over the spread between clusters, clipped to `bounds`.

    Raises:
        MeasurementError: there is a single cluster.
    """
    error = variance_of_mean(values, clusters) ** 0.5
    n_clusters = len(np.unique(clusters))
    return student(float(values.mean()), error, n_clusters, level=level, bounds=bounds, method="Student t, clustered")


def median_interval(values: Floats, clusters: NDArray[np.int64], *, level: float = LEVEL) -> Interval:
    """Return the bootstrap interval of the median of (N,) `values`, drawn by whole clusters."""
    _, place = np.unique(clusters, return_inverse=True)
    order = np.argsort(values, kind="stable")
    ranked, place = values[order], place[order]
    n_clusters = int(place.max()) + 1
    rng = np.random.default_rng(SEED)
    medians = []
    for _ in range(0, REPLICATES, _REPLICATES_AT_A_TIME):
        drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=_REPLICATES_AT_A_TIME)
        medians += [_median(ranked, np.cumsum(counts[place])) for counts in drawn]
    found = percentile_interval(np.array(medians), level=level)
    return Interval(found.low, found.high, level, "bootstrap percentile, clustered")


def _median(ranked: Floats, below: NDArray[np.int64]) -> float:
    """Return the median of sorted values; `below` (N,) is how many were drawn up to each position."""
    n = below[-1]
    lower, upper = np.searchsorted(below, [(n + 1) // 2, n // 2 + 1], side="left")
    return float(ranked[lower] + ranked[upper]) / 2
