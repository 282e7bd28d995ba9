"""A straight line through the accuracies of many models, on probit or logit axes, that a few odd models do not move.

On such axes the accuracies of models on two data sets lie close to a line (Taori et al. 2020, section 3). The fit is
Huber's: points close to the line count by their squared distance, points far from it by their distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, ndtri

from pytest_clip_robust.core.arrays import Floats, row_slices
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL
from pytest_clip_robust.stats.resampling import REPLICATES, SEED, percentile_interval

Axis = Literal["logit", "probit"]
AXES: dict[Axis, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {"logit": (logit, expit), "probit": (ndtri, ndtr)}
"""The transform of an accuracy (0-1) for each kind of axis, and its inverse."""

K = 1.345
"""Distances above K scales count by their size, not their square: 95 % efficient for normal errors (Huber 1981)."""

EDGE = 1e-4
"""Accuracies of 0 and 1 have no finite place on the axes. All are moved into [EDGE, 1 - EDGE] before the transform."""

SMALLEST_PANEL = 3
NORMAL_MAD = float(ndtri(0.75))
"""The median absolute value of a standard normal variable."""

_SMALLEST_SCALE = 1e-9
_TOLERANCE = 1e-10
_MOST_STEPS = 200
_REPLICATES_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class RobustLine:
    """A line ``transform(y) = intercept + slope * transform(x)`` through `n` models, on `axes`.

    scale: the spread of the models around the line in units of the axes, as a standard deviation (from the MAD).
    """

    intercept: float
    slope: float
    scale: float
    n: int
    axes: Axis

    def predict(self, x: ArrayLike) -> Floats:
        """Return the accuracy (0-1) of the line at accuracies `x` (0-1), in the shape of `x`."""
        return _predict(self.intercept, self.slope, x, self.axes)

    def residual(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Return in points (0-100) how far accuracies `y` (0-1) are above the line at accuracies `x` (0-1)."""
        points: Floats = 100 * (np.asarray(y, dtype=np.float64) - self.predict(x))
        return points


@dataclass(frozen=True, slots=True)
class ResampledLines:
    """B lines through resampled panels: (B,) intercepts and slopes. NaN where a replicate had no two distinct x."""

    intercepts: Floats
    slopes: Floats
    axes: Axis

    def predict(self, x: ArrayLike) -> Floats:
        """Return (B,) accuracies (0-1) of the lines at one accuracy `x` (0-1), or at (B,) of them, one per line."""
        return _predict(self.intercepts, self.slopes, x, self.axes)


def fit_robust_line(x: ArrayLike, y: ArrayLike, *, axes: Axis = "probit") -> RobustLine:
    """Fit Huber's regression of (N,) accuracies `y` on (N,) accuracies `x` (0-1), both on transformed axes.

    The M-estimate with K = 1.345, by at most 200 steps of reweighted least squares from the least-squares line; the
    scale is the MAD of the residuals around 0, divided by 0.6745 and estimated again at every step (Huber 1981, section
    7.8). Accuracies of 0 and 1 are moved inside by EDGE, 0.0001.

    Raises:
        MeasurementError: x and y differ in length, a value is not in 0..1, or x has fewer than three distinct values.
    """
    u, v = (_on_axes(one, axes) for one in _checked(x, y))
    intercept, slope, scale = (float(one[0]) for one in _fit(u, v, np.ones((1, len(u)))))
    return RobustLine(intercept, slope, scale, len(u), axes)


def resample_lines(
    x: ArrayLike,
    y: ArrayLike,
    *,
    axes: Axis = "probit",
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> ResampledLines:
    """Fit the line to bootstrap replicates of the panel's models (Efron 1979), drawn with replacement.

    groups: (N,) labels; rows of one label, such as one model at several image sizes, are drawn together. Each row is a
    group of its own by default.

    Raises:
        MeasurementError: as for `fit_robust_line`; or `groups` has another length.
    """
    u, v = (_on_axes(one, axes) for one in _checked(x, y))
    _, place = np.unique(np.arange(len(u)) if groups is None else np.asarray(groups), return_inverse=True)
    if len(place) != len(u):
        raise MeasurementError(f"{len(place)} groups for {len(u)} models; expected one for each")
    n = int(place.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)
    counts = drawn[:, place].astype(np.float64)
    fits = [_fit(u, v, counts[part])[:2] for part in row_slices(replicates, _REPLICATES_AT_A_TIME)]
    intercepts, slopes = (np.concatenate(one) for one in zip(*fits, strict=True))
    return ResampledLines(intercepts, slopes, axes)


def residual_interval(
    x: ArrayLike, y: ArrayLike, *, at: tuple[float, float], axes: Axis = "probit", level: float = LEVEL
) -> Interval:
    """Return the interval, in points, of a model's residual that the choice of the panel's models alone causes.

    x, y: (N,) accuracies (0-1) of the panel. at: the model's accuracies x and y (0-1), taken as exact. Replicates
    without a line are left out.

    Raises:
        MeasurementError: as for `fit_robust_line`.
    """
    lines = resample_lines(x, y, axes=axes)
    return percentile_interval(100 * (at[1] - lines.predict(at[0])), level=level)


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return x and y as arrays, if a line can be fitted to them.

    Raises:
        MeasurementError: as for `fit_robust_line`.
    """
    base, moved = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if base.ndim != 1 or base.shape != moved.shape:
        raise MeasurementError(f"x has the shape {base.shape} and y {moved.shape}; expected (N,) accuracies each")
    for name, accuracies in (("x", base), ("y", moved)):
        bad = np.flatnonzero(~((accuracies >= 0) & (accuracies <= 1)))
        if len(bad):
            raise MeasurementError(f"{name}[{bad[0]}]={accuracies[bad[0]]}; expected an accuracy as a share, 0-1")
    if (distinct := len(np.unique(base))) < SMALLEST_PANEL:
        raise MeasurementError(
            f"{len(base)} models with {distinct} distinct accuracies x fit no line; give at least {SMALLEST_PANEL}"
        )
    return base, moved


def _on_axes(accuracy: ArrayLike, axes: Axis) -> Floats:
    placed: Floats = AXES[axes][0](np.clip(np.asarray(accuracy, dtype=np.float64), EDGE, 1 - EDGE))
    return placed


def _predict(intercept: float | Floats, slope: float | Floats, x: ArrayLike, axes: Axis) -> Floats:
    accuracy: Floats = AXES[axes][1](intercept + slope * _on_axes(x, axes))
    return accuracy


def _fit(u: Floats, v: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (B,) intercepts, slopes and scales of lines through (N,) points u, v that count (B, N) `counts` times."""
    intercept, slope = _least_squares(u, v, counts)
    for _ in range(_MOST_STEPS):
        distance = np.abs(v - intercept[:, None] - slope[:, None] * u)
        scale = np.maximum(_median(distance, counts) / NORMAL_MAD, _SMALLEST_SCALE)
        weight = K * scale[:, None] / np.maximum(distance, K * scale[:, None])
        before = intercept, slope
        intercept, slope = _least_squares(u, v, counts * weight)
        if not (np.abs(intercept - before[0]) + np.abs(slope - before[1]) > _TOLERANCE).any():
            break
    return intercept, slope, _median(np.abs(v - intercept[:, None] - slope[:, None] * u), counts) / NORMAL_MAD


def _least_squares(u: Floats, v: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return (B,) intercepts and slopes for (B, N) weights; NaN where all weight is on one u."""
    total = weight.sum(axis=1)
    centre_u, centre_v = weight @ u / total, weight @ v / total
    apart = u - centre_u[:, None]
    spread = (weight * apart**2).sum(axis=1)
    slope = np.divide((weight * apart) @ v, spread, out=np.full_like(spread, np.nan), where=spread > 0)
    return centre_v - slope * centre_u, slope


def _median(values: Floats, counts: Floats) -> Floats:
    """Return (B,) medians of (B, N) values of which each is there `counts` times."""
    order = np.argsort(values, axis=1)
    ranked, below = np.take_along_axis(values, order, 1), np.take_along_axis(counts, order, 1).cumsum(axis=1)
    n = below[:, -1:]
    lower, upper = ((below >= place).argmax(axis=1)[:, None] for place in ((n + 1) // 2, n // 2 + 1))
    middle: Floats = (np.take_along_axis(ranked, lower, 1) + np.take_along_axis(ranked, upper, 1))[:, 0] / 2
    return middle
