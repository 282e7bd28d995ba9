"""Models compared with a robust line through other models, on probit axes: residuals, and their mean over models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.finding import Effect
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.across_models import Z, mean_effect
from pytest_clip_robust.stats.intervals import LEVEL
from pytest_clip_robust.stats.robust_line import fit_robust_line, resample_lines

FEWEST_REFERENCES = 5
"""A line through models of fewer families says nothing about its own uncertainty."""

STEP = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """M models by two accuracies (0-1), with the standard errors that the choice of images gives them.

    labels, groups: names of the models, and of their families. shared: (M,) share of the images behind x that are the
    images behind y; it makes the errors of x and y depend on each other.
    """

    labels: Sequence[str]
    groups: Sequence[str]
    x: Floats
    y: Floats
    x_errors: Floats
    y_errors: Floats
    shared: Floats

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """(M,) residuals in points (0-100) of models from a line, and the line's accuracies (0-1) at their x.

    errors: (M,) standard errors from images. lines: (B, M) accuracies of lines through resampled reference models.
    """

    residuals: Floats
    expected: Floats
    errors: Floats
    lines: Floats

    @property
    def halves(self) -> Floats:
        """(M,) half widths of 95 % intervals, of images and reference models together, in points."""
        return np.hypot(Z * self.errors, _half(self.lines))


def residuals_from(reference: Points, tested: Points) -> Residuals:
    """Return how far `tested` models are above the robust line through the `reference` models.

    Raises:
        MeasurementError: the reference models are of fewer than `FEWEST_REFERENCES` families, or fit no line.
    """
    families = len(set(reference.groups))
    if families < FEWEST_REFERENCES:
        raise MeasurementError(
            f"needs reference models of {FEWEST_REFERENCES} or more families for a line, and the panel has {families}"
        )
    line = fit_robust_line(reference.x, reference.y)
    drawn = resample_lines(reference.x, reference.y, groups=np.asarray(reference.groups))
    lines = np.column_stack([drawn.predict(x) for x in tested.x.tolist()])
    expected = line.predict(tested.x)
    slope = (line.predict(np.minimum(tested.x + STEP, 1)) - line.predict(np.maximum(tested.x - STEP, 0))) / (2 * STEP)
    # The images behind y are part of those behind x: a lucky draw moves both, and the line follows x.
    variance = tested.y_errors**2 * (1 - 2 * slope * tested.shared) + (slope * tested.x_errors) ** 2
    return Residuals(
        residuals=line.residual(tested.x, tested.y),
        expected=expected,
        errors=100 * np.sqrt(np.maximum(variance, 0)),
        lines=100 * lines[np.isfinite(lines).all(axis=1)],
    )


def mean_residual(reference: Points, tested: Points) -> Effect:
    """Return the mean residual in points over families of the `tested` models, from the line of the `reference` models.

    The interval covers other families and images (`mean_effect`), and other reference models, whose families are
    resampled.

    Raises:
        MeasurementError: as for `residuals_from`, or no model is tested.
    """
    if not len(tested):
        raise MeasurementError("needs one or more models to compare with the line, and the panel has none")
    found = residuals_from(reference, tested)
    effect = mean_effect(found.residuals, found.errors, tested.groups)
    names, place, size = np.unique(np.asarray(tested.groups), return_inverse=True, return_counts=True)
    weights = 1 / (len(names) * size[place])
    return effect.widened(float(_half(found.lines @ weights)))


def _half(values: Floats) -> Floats:
    """Return half the width of the central 95 % of (B, ...) values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    half: Floats = (high - low) / 2
    return half
