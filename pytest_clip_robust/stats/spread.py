"""Spread of equally good checkpoints, such as those of one recipe with several seeds, on the same images."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

import numpy as np
from scipy.stats import t

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import MeasurementError

LEVEL = 0.95


def difference_bounds(values: Floats, *, level: float = LEVEL) -> Floats:
    """Return upper bounds of the difference between two further checkpoints on the same images, one per gate.

    Of two equally good checkpoints, the first is worse than the second by more than the bound with a probability of
    ``1 - level``, in each gate and in either direction. If the values are normal over checkpoints with a standard
    deviation s, a difference of two has ``sqrt(2) * s``, and divided by that with s estimated from K values it has
    Student's t distribution with K - 1 degrees of freedom. So the bound is ``t(level; K - 1) * sqrt(2) * s``.

    Each gate has its own variance only. Averaging it with that of other gates (the moderated variance of Smyth 2004)
    gives smaller bounds, but the few gates that vary most are those that a bound is for: with five checkpoints of the
    showroom's model, held-out ones then exceeded the bounds more often, and significantly.

    Args:
        values: (K, G) values of G gates of K checkpoints, K at least 2.
        level: above 0.5 and below 1.

    Raises:
        MeasurementError: there are fewer than two checkpoints.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        raise MeasurementError(f"{len(values)} checkpoints have no spread; give at least 2")
    quantile = float(t.ppf(level, len(values) - 1))
    return np.asarray(quantile * math.sqrt(2) * values.std(axis=0, ddof=1), dtype=np.float64)


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
