"""Confidence intervals of proportions and of their ratios, through SciPy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binomtest, sem, t
from scipy.stats.contingency import relative_risk

from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError

LEVEL = 0.95


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of the proportion ``successes / n`` (Wilson 1927).

    Raises:
        MeasurementError: `n` is below 1 or `successes` outside ``0..n``.

    >>> interval = wilson(50, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.4038, 0.5962)
    """
    return _proportion(successes, n, level=level, method="wilson", title="Wilson")


def clopper_pearson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Return the exact interval of the proportion ``successes / n`` (Clopper and Pearson 1934).

    Raises:
        MeasurementError: as for `wilson`.
    """
    return _proportion(successes, n, level=level, method="exact", title="Clopper-Pearson")


def wilson_of_mean(mean: float, n: float, *, level: float = LEVEL) -> Interval:
    """Return Wilson's interval for a mean of 0/1 outcomes worth `n` independent ones; `n` need not be whole.

    The closed form is that of Wilson (1927) with ``successes = mean * n``.
    """
    z = float(ndtri(0.5 + level / 2))
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (mean * (1 - mean) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level, "Wilson at the effective n")


def mean_interval(
    values: NDArray[np.float64], *, level: float = LEVEL, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """Return Student's interval of the mean of (N,) `values`, cut at `bounds`.

    Raises:
        MeasurementError: a single value has no spread.
    """
    if len(values) < 2:
        raise MeasurementError(f"{len(values)} values have no spread, so their mean has no interval; give at least 2")
    mean = float(values.mean())
    half = float(sem(values) * t.ppf(0.5 + level / 2, len(values) - 1))
    return Interval(max(bounds[0], mean - half), min(bounds[1], mean + half), level, "Student t")


def ratio_of_proportions(successes: int, n: int, base_successes: int, base_n: int, *, level: float = LEVEL) -> Interval:
    """Return the interval of ``(successes / n) / (base_successes / base_n)`` for independent samples (Katz 1978).

    Without a success in the numerator the log method has no lower end: the interval is then ``[0, high]`` with half a
    success in its place.

    Raises:
        MeasurementError: the denominator has no success, so there is no ratio.
    """
    _check(successes, n)
    _check(base_successes, base_n)
    if base_successes == 0:
        raise MeasurementError(f"a ratio to 0 of {base_n} is not defined")
    if successes == 0:
        upper = relative_risk(1, 2 * n, base_successes, base_n).confidence_interval(level).high
        return Interval(0.0, float(upper), level, "Katz log")
    found = relative_risk(successes, n, base_successes, base_n).confidence_interval(level)
    return Interval(float(found.low), float(found.high), level, "Katz log")


def _proportion(successes: int, n: int, *, level: float, method: Literal["wilson", "exact"], title: str) -> Interval:
    _check(successes, n)
    found = binomtest(successes, n).proportion_ci(confidence_level=level, method=method)
    return Interval(float(found.low), float(found.high), level, title)


def _check(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise MeasurementError(f"{successes} of {n} is no proportion; expected n >= 1 and 0 <= successes <= n")
