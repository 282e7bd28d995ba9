"""Many tests at once: p-values adjusted for the number of gates that are judged together."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from pytest_clip_robust.core.arrays import Floats


def adjusted(p_values: Floats, *, share: float) -> Floats:
    """Return the adjusted p-values (M,) of one family of M tests that gets `share` (0-1] of the run's alpha.

    They are those of Benjamini and Hochberg (1995, Journal of the Royal Statistical Society B 57), divided by `share`
    and at most 1. Calling every test whose adjusted p-value is at most alpha keeps the expected share of false calls,
    and the chance of any call if every null hypothesis is true, at ``alpha * share``. That holds for independent tests
    and for those that depend positively on each other (Benjamini and Yekutieli 2001, Annals of Statistics 29).
    """
    if not len(p_values):
        return np.asarray(p_values, dtype=np.float64)
    of_family: Floats = false_discovery_control(p_values, method="bh")
    return np.minimum(of_family / share, 1.0)
