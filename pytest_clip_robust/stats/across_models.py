"""Means and rank correlations over several models, with intervals that cover other models and other images.

Models that are related by fine-tuning or interpolation say little more than one of them. So the units are families: the
values of a family are averaged, or the family is left out as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.finding import Effect
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL, student

FEWEST_FAMILIES = 5
"""Fewer families cannot show a rank correlation: even four in perfect order have a one-sided p-value of 1/24."""

Z = float(ndtri(0.5 + LEVEL / 2))


def mean_effect(values: Floats, errors: Floats, groups: Sequence[str]) -> Effect:
    """Return the mean of (M,) `values` over families, with an interval over families and images.

    The mean of K families has the error ``s / sqrt(K)``, with s their standard deviation and Student's t with K - 1
    degrees of freedom. All models answered the same images, which can move all values in one direction: the mean of the
    families' `errors`, the standard errors from images, is added in quadrature, as if it moved all of them together. If
    all models are of one family, each of them is a unit; a single model leaves the error from images alone.

    Args:
        values: (M,), one per model or pair of models.
        errors: (M,) standard errors of the values from the choice of images.
        groups: M names of families.

    Raises:
        MeasurementError: there is no value, or a value is not finite.

    >>> found = mean_effect(np.array([0.1, 0.2, 0.3]), np.zeros(3), ["a", "b", "c"])
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.of
    (0.2, -0.048, 0.448, 'families')
    """
    values, errors = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all() or not np.isfinite(errors).all():
        raise MeasurementError(
            f"{len(values)} values over models, {values[:3].tolist()}; expected finite ones, and not 0"
        )
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    of = "families" if len(names) > 1 else "models"
    if len(names) == 1:
        place = np.arange(len(values))
    units = int(place.max()) + 1
    size = np.bincount(place)
    means, shared = np.bincount(place, values) / size, np.bincount(place, errors) / size
    of_units = float(stdtrit(units - 1, 0.5 + LEVEL / 2)) * float(means.std(ddof=1)) / units**0.5 if units > 1 else 0.0
    half = float(np.hypot(of_units, Z * shared.mean()))
    value = float(means.mean())
    return Effect(
        value=value,
        low=value - half,
        high=value + half,
        models=len(values),
        units=units,
        of=of if units > 1 else "images",
    )


def rank_correlation(x: Floats, y: Floats, *, groups: Sequence[str], strata: Sequence[str] | None = None) -> Effect:
    """Return Kendall's tau (1938) of (M,) x and y, -1 to 1, with the interval of the jackknife over families.

    The share of pairs of models that x and y order in the same way, minus the share that they order in opposite ways;
    ties count as neither. With `strata`, only pairs within one stratum count. Each family is left out in turn (Efron
    and Stein 1981, Annals of Statistics 9), and Student's t has one degree of freedom less than there are families. If
    no family changes tau, the interval is Wilson's for as many equal outcomes.

    Raises:
        MeasurementError: fewer than `FEWEST_FAMILIES` families are in a pair, or leaving one out leaves no pair.

    >>> found = rank_correlation(np.arange(6.0), np.array([0.0, 1, 3, 2, 4, 5]), groups=list("abcdef"))
    >>> round(found.value, 3), round(found.low, 3), found.high
    (0.867, 0.325, 1.0)
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    places = np.unique(np.zeros(len(x)) if strata is None else np.asarray(strata), return_inverse=True)[1]
    first, second = np.triu_indices(len(x), 1)
    paired = places[first] == places[second]
    first, second = first[paired], second[paired]
    signs = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    used = np.unique(np.concatenate([first, second]))
    names = np.asarray(groups)
    families = np.unique(names[used])
    if len(families) < FEWEST_FAMILIES:
        raise MeasurementError(
            f"{len(families)} families of models are too few for a rank correlation; expected {FEWEST_FAMILIES} or more"
        )
    value = float(signs.mean())
    left_out = []
    for family in families:
        kept = (names[first] != family) & (names[second] != family)
        if not kept.any():
            raise MeasurementError(f"without the family {family!r}, no two models are left to compare; add models")
        left_out.append(float(signs[kept].mean()))
    k = len(families)
    error = float(((k - 1) / k * np.square(np.array(left_out) - np.mean(left_out)).sum()) ** 0.5)
    found = student(value, error, k, bounds=(-1.0, 1.0))
    return Effect(value=value, low=found.low, high=found.high, models=len(used), units=k, of="families")
