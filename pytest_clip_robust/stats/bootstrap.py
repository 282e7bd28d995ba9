"""The bootstrap, where resampling is one multinomial draw of the distinct rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.stats.intervals import LEVEL

REPLICATES = 2000
SEED = 0
"""Intervals depend on the data alone: every run draws the same replicates."""

Statistic = Callable[[NDArray[np.int64], NDArray[Any]], NDArray[np.float64]]
"""Takes (B, P) counts of P distinct rows and the (P, K) rows; returns B values, NaN where undefined."""


def bootstrap_rows(
    rows: NDArray[Any],
    statistic: Statistic,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = SEED,
    value: float | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return the percentile interval of `statistic` over samples drawn from (N, K) `rows`.

    Drawing N rows with replacement is drawing multinomial counts of the distinct ones, so that 50,000 rows and 2,000
    replicates take milliseconds. Replicates in which the statistic is undefined are left out (Efron 1979).

    Rows of rounded numbers give a rounded statistic: with the exact `value` the interval is centred on it, as in
    `recentred_interval`, inside `bounds`.
    """
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=replicates)
    values = statistic(draws, distinct)
    if value is None:
        return percentile_interval(values, level=level)
    return recentred_interval(values, value, level=level, bounds=bounds)


def percentile_interval(values: NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """Return the central `level` of bootstrap `values`, NaN left out."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap percentile")


def recentred_interval(
    values: NDArray[np.float64], value: float, *, level: float = LEVEL, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """Return the percentile interval of bootstrap `values`, moved so that their median lies at `value`.

    Errors that sum absolute differences are larger in every replicate than in the sample, so that their percentile
    interval can lie beside the value. Moved, it says how far the value would move on other samples of this size.
    """
    middle = float(np.nanmedian(values))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]) - middle + value
    return Interval(
        min(value, max(float(low), bounds[0])), max(value, min(float(high), bounds[1])), level, "bootstrap, recentred"
    )
