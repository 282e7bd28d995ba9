"""Confidence intervals of proportions, of their ratios, and of means, through SciPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binomtest, sem, t
from scipy.stats.contingency import relative_risk

from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError

LEVEL = 0.95

ROUNDING = 1e-9
"""A standard error below this share of the range of values is taken for the rounding of equal values."""


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of the proportion ``successes / n`` (Wilson 1927).

    Raises:
        MeasurementError: `n` is below 1 or `successes` is outside ``0..n``.

    >>> interval = wilson(50, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.4038, 0.5962)
    """
    _check(successes, n)
    found = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return Interval(float(found.low), float(found.high), level, "Wilson")


def wilson_of_mean(mean: float, n: float, *, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a mean (0-1) of 0/1 outcomes worth `n` independent ones; `n` can be a fraction.

    The closed form is that of Wilson (1927) with ``successes = mean * n``.
    """
    z = float(ndtri(0.5 + level / 2))
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (mean * (1 - mean) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level, "Wilson at the effective n")


def without_spread(value: float, n: float, *, bounds: tuple[float, float], level: float = LEVEL) -> Interval:
    """Return an interval of a `value` within finite `bounds` whose `n` samples do not differ at all.

    Samples without spread would give an interval of zero width, as if no other sample could differ. Wilson's interval
    keeps its width: the value is taken for a mean of `n` outcomes that are each at one of the bounds.

    >>> interval = without_spread(1.0, 3, bounds=(0.0, 1.0))
    >>> round(interval.low, 4), interval.high
    (0.4385, 1.0)
    """
    low, high = bounds
    found = wilson_of_mean((value - low) / (high - low), n, level=level)
    return Interval(
        min(value, low + found.low * (high - low)),
        max(value, low + found.high * (high - low)),
        level,
        "Wilson, no spread",
    )


def mean_interval(
    values: NDArray[np.float64], *, level: float = LEVEL, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """Return Student's interval of the mean of (N,) `values`, clipped to `bounds`.

    Equal values within finite bounds have the interval of `without_spread`.

    Raises:
        MeasurementError: a single value has no spread.
    """
    if len(values) < 2:
        raise MeasurementError(f"{len(values)} values have no spread, so their mean has no interval; give at least 2")
    return student(float(values.mean()), float(sem(values)), len(values), level=level, bounds=bounds)


def student(
    mean: float,
    error: float,
    n: int,
    *,
    level: float = LEVEL,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    method: str = "Student t",
) -> Interval:
    """Return Student's interval of a mean of `n` values with this standard error, clipped to `bounds`.

    Without an error beyond rounding, within finite bounds, it is the interval of `without_spread`.
    """
    if np.isfinite(bounds).all() and error <= ROUNDING * (bounds[1] - bounds[0]):
        return without_spread(mean, n, bounds=bounds, level=level)
    half = error * float(t.ppf(0.5 + level / 2, max(n - 1, 1)))
    return Interval(max(bounds[0], mean - half), min(bounds[1], mean + half), level, method)


def ratio_of_proportions(successes: int, n: int, base_successes: int, base_n: int, *, level: float = LEVEL) -> Interval:
    """Return the interval of ``(successes / n) / (base_successes / base_n)`` for independent samples (Katz 1978).

    Without a success in the numerator the log method has no lower end: the interval is then ``[0, high]`` with half a
    success in its place. Where every outcome is a success the method has no width: each end then takes the lower end of
    Wilson's interval for one of the proportions.

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
    if (successes, base_successes) == (n, base_n):
        low, base_low = wilson(n, n, level=level).low, wilson(base_n, base_n, level=level).low
        return Interval(low, 1 / base_low, level, "Wilson, no spread")
    found = relative_risk(successes, n, base_successes, base_n).confidence_interval(level)
    return Interval(float(found.low), float(found.high), level, "Katz log")


def _check(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise MeasurementError(f"{successes} of {n} is not a proportion; expected n >= 1 and 0 <= successes <= n")
