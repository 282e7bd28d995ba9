"""The bootstrap for rows that take few distinct values, where resampling is one multinomial draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.measurement import Interval
from pytest_clip_robust.stats.intervals import LEVEL

REPLICATES = 2000
SEED = 0
"""Intervals depend on the data alone: every run draws the same replicates."""

Statistic = Callable[[NDArray[np.int64], NDArray[np.bool_]], NDArray[np.float64]]
"""Takes (B, P) counts of P distinct rows and the (P, K) rows; returns B values, NaN where undefined."""


def bootstrap_rows(
    rows: NDArray[np.bool_],
    statistic: Statistic,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """Return the percentile interval of `statistic` over samples drawn from (N, K) boolean `rows`.

    Drawing N rows with replacement is drawing multinomial counts of the distinct ones, so that 50,000 rows and 2,000
    replicates take milliseconds. Replicates in which the statistic is undefined are left out (Efron 1979).
    """
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=replicates)
    return percentile_interval(statistic(draws, distinct), level=level)


def percentile_interval(values: NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """Return the central `level` of bootstrap `values`, NaN left out."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap percentile")
