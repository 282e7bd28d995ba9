"""Factor-level effective robustness: accuracy under one visual factor beyond what average accuracy explains.

Reference models give a line of factor accuracy against average accuracy on probit axes (arXiv 2410.01534, section on
visual factors; the fit is Huber's). A model's residual from it is its robustness to the factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from pytest_clip_robust.core.finding import Answer
from pytest_clip_robust.core.panel_table import ModelFactors, PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.properties.findings.lines import FEWEST_REFERENCES, Points, mean_residual, residuals_from
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import chosen, common, groups_of, is_zero_shot, means_over_sets

SMALLEST = 1.0
"""Points of accuracy; a smaller residual does not count."""

GAINS = ("subcategory", "smaller", "color", "shape", "texture", "larger")
LOSSES = ("pose", "partial_view")
"""The factors on which the study's CLIP models are above, and below, the line of the ImageNet models."""

AVERAGE = "visual_factors.average"
ACCURACIES = ("visual_factors.accuracy_top", "visual_factors.accuracy_multi")
SUPERVISED = "supervised"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorResidual:
    """A model's effective robustness to one factor.

    average, accuracy: over all annotated images, and over those with the factor (0-1). expected: the line's accuracy.
    residual: in points (0-100), with its 95 % interval over images and reference models. n: images with the factor.
    reference: whether the line was fitted to the model, among others.
    """

    factor: str
    model: str
    reference: bool
    average: float
    accuracy: float
    expected: float
    residual: float
    low: float
    high: float
    n: int


def factor_residuals(table: PanelTable) -> list[FactorResidual]:
    """Return the residual of every model for every factor that was measured, by factor and label.

    Factors for which no line can be fitted are left out.

    Raises:
        MeasurementError: no factor has a line; the message gives the reason for the first.
    """
    found, reasons = [], []
    for factor in FACTORS:
        try:
            reference, rest = _points(table, factor, is_reference), _points(table, factor, lambda _: True)
            residuals = residuals_from(reference, rest)
        except MeasurementError as error:
            reasons.append(str(error))
            continue
        counts = _counts(table, factor)
        for i, label in enumerate(rest.labels):
            value, half = float(residuals.residuals[i]), float(residuals.halves[i])
            found.append(
                FactorResidual(
                    factor=factor,
                    model=label,
                    reference=label in reference.labels,
                    average=float(rest.x[i]),
                    accuracy=float(rest.y[i]),
                    expected=float(residuals.expected[i]),
                    residual=value,
                    low=value - half,
                    high=value + half,
                    n=counts[label],
                )
            )
    if not found:
        raise MeasurementError(reasons[0])
    return found


def factor_effect(table: PanelTable, factor: str, *, gain: bool) -> Answer:
    """Answer whether zero-shot models are above (`gain`), or below, the reference models' line for a factor.

    Raises:
        MeasurementError: the panel has no zero-shot model, or too few reference models, with the factor.
    """
    chosen(table, is_zero_shot, "zero-shot models")
    reference, tested = _points(table, factor, is_reference), _points(table, factor, is_zero_shot)
    effect = mean_residual(reference, tested)
    side = "above" if gain else "below"
    return directed(
        effect if gain else effect.negated(),
        smallest=SMALLEST,
        statistic=f"accuracy on {factor.replace('_', ' ')} {side} the line of the reference models",
        unit="points",
    )


def is_reference(model: ModelFactors) -> bool:
    """Return whether the line is fitted to a model: the panel file marks it, or it was trained on labels only."""
    return model.reference or model.fine_tuning == SUPERVISED


def _points(table: PanelTable, factor: str, belongs: Callable[[ModelFactors], bool]) -> Points:
    """Return the models of a group by average accuracy and accuracy on the factor."""
    words = f"models with {AVERAGE} and the accuracy on {factor!r}"
    if not any(is_reference(one) for one in table.models.values()):
        raise MeasurementError(
            f"needs reference models of {FEWEST_REFERENCES} or more families for a line, and the panel has none: mark "
            "them with reference = true"
        )
    labels = [label for label, model in table.models.items() if belongs(model)]
    average = means_over_sets(table, AVERAGE, labels=labels)
    accuracy = means_over_sets(table, _metric(table, factor), labels=labels, subset=factor)
    both = common(average, accuracy, words=words)
    carriers, every = _counts(table, factor), _counts(table, "")
    return Points(
        labels=both,
        groups=groups_of(table, both),
        x=np.array([average[label][0] for label in both]),
        y=np.array([accuracy[label][0] for label in both]),
        x_errors=np.array([average[label][1] for label in both]),
        y_errors=np.array([accuracy[label][1] for label in both]),
        shared=np.array([carriers[label] / every[label] for label in both]),
    )


def _metric(table: PanelTable, factor: str) -> str:
    found = [metric for metric in ACCURACIES if table.rows_of(metric, subset=factor)]
    if not found:
        raise MeasurementError(f"needs the accuracy on {factor!r}, and the run did not measure it")
    return found[0]


def _counts(table: PanelTable, factor: str) -> dict[str, int]:
    """Return the number of images with a factor, or of all annotated ones for ``""``, by label, over all sets."""
    metric = _metric(table, factor) if factor else AVERAGE
    found: dict[str, int] = {}
    for rows in table.rows_of(metric, subset=factor).values():
        for label, row in rows.items():
            found[label] = found.get(label, 0) + (row.n or 0)
    return found


def _finding(factor: str, *, gain: bool) -> Finding:
    verb, side = ("gain", "above") if gain else ("lose", "below")
    return Finding(
        name=f"clip_{verb}s_on_{factor}",
        claim=f"On {factor.replace('_', ' ')}, zero-shot models are {side} the line of the reference models.",
        test=partial(factor_effect, factor=factor, gain=gain),
    )


FINDINGS = (*(_finding(one, gain=True) for one in GAINS), *(_finding(one, gain=False) for one in LOSSES))
