"""Spread of equally good checkpoints, such as the same recipe with other seeds, from their values on the same images.

A few checkpoints measure the variance of one gate badly, but many gates together say how large such variances are. So
the variance of a gate is moderated (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3): it is
averaged with what is expected of it, which is estimated from all gates. Gates have different units and sizes of data;
what is comparable between them is the ratio of the variance over checkpoints to the sampling variance of the value.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, ndtri, polygamma
from scipy.stats import t

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import MeasurementError

LEVEL = 0.95
LEAST_GATES = 3
"""From fewer variances than this, nothing is learnt about the others."""

LARGEST_FREEDOM = 1e6
"""Beyond this, Student's t is the normal distribution."""


class Spread(NamedTuple):
    """How much checkpoints differ in each of G gates.

    deviations: (G,) standard deviations over checkpoints, in the units of the values.
    freedom: (G,) degrees of freedom of their squares.
    """

    deviations: Floats
    freedom: Floats


class Prior(NamedTuple):
    """The distribution of variances: ``1 / variance`` is chi-squared with `freedom`, over `freedom` times `variance`.

    freedom: 0 if nothing is known, infinite if all variances are equal.
    """

    variance: float
    freedom: float


def spread_of(values: Floats, errors: Floats) -> Spread:
    """Return the moderated spread of K checkpoints.

    Args:
        values: (K, G) values of G gates, K at least 2.
        errors: (K, G) standard errors of the values, from sampling images. Gates with an error of 0 are not moderated.

    Raises:
        MeasurementError: there are fewer than two checkpoints.
    """
    values, errors = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if len(values) < 2:
        raise MeasurementError(f"{len(values)} checkpoints have no spread; give at least 2")
    own = len(values) - 1
    variances, scales = values.var(axis=0, ddof=1), np.square(errors).mean(axis=0)
    scaled = scales > 0
    ratios = variances[scaled] / scales[scaled]
    prior = fit_prior(ratios, own)
    moderated = variances.copy()
    moderated[scaled] = scales[scaled] * moderate(ratios, own, prior)
    freedom = np.where(scaled, own + prior.freedom, own)
    return Spread(np.sqrt(moderated), np.minimum(freedom, LARGEST_FREEDOM))


def difference_bounds(values: Floats, errors: Floats, *, level: float = LEVEL) -> Floats:
    """Return (G,) upper bounds of the difference between two further checkpoints, on the same images.

    The difference of two has ``sqrt(2)`` times the standard deviation of one, so a bound is that times the quantile of
    Student's t at `level`. In each gate, one of two equally good checkpoints is worse than the other by more than the
    bound with a probability of ``1 - level``. For the arguments see `spread_of`.
    """
    spread = spread_of(values, errors)
    return np.asarray(t.ppf(level, spread.freedom) * math.sqrt(2) * spread.deviations, dtype=np.float64)


def fit_prior(variances: Floats, freedom: float) -> Prior:
    """Return the distribution that (G,) variances come from, each estimated with `freedom`.

    The moments of their logarithm are matched, as in limma's ``fitFDist`` (Smyth 2004, section 6.2). Variances of 0 are
    left out: values of few images can be equal by chance, and those of a metric that does not depend on the model are.
    """
    positive = variances[variances > 0]
    if len(positive) < LEAST_GATES:
        return Prior(0.0, 0.0)
    logs = np.log(positive) - digamma(freedom / 2) + math.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2))
    if excess <= 4 / LARGEST_FREEDOM:
        return Prior(math.exp(logs.mean()), math.inf)
    half = brentq(lambda x: float(polygamma(1, x)) - excess, 1e-8, LARGEST_FREEDOM)
    return Prior(math.exp(logs.mean() + digamma(half) - math.log(half)), 2 * half)


def moderate(variances: Floats, freedom: float, prior: Prior) -> Floats:
    """Return (G,) variances, each estimated with `freedom`, averaged with that of the prior by degrees of freedom."""
    if math.isinf(prior.freedom):
        return np.full_like(variances, prior.variance)
    return (prior.freedom * prior.variance + freedom * variances) / (prior.freedom + freedom)


def standard_error(*, low: float, high: float, level: float) -> float:
    """Return the standard error of a value from its confidence interval, as if that were a normal one.

    >>> round(standard_error(low=0.4, high=0.6, level=0.95), 4)
    0.051
    """
    return (high - low) / (2 * float(ndtri(0.5 + level / 2)))


def rounded_up(value: float, *, digits: int = 2) -> float:
    """Return a value, 0 or more, rounded up to `digits` significant digits.

    >>> rounded_up(0.02101), rounded_up(0.021), rounded_up(12.1)
    (0.022, 0.021, 13.0)
    """
    if value == 0:
        return 0.0
    exact = Decimal(f"{value:.9g}")  # 0.021000000000000001 is not more than 0.021
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return float(exact.quantize(step, rounding=ROUND_CEILING))
