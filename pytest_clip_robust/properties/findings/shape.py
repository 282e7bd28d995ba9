"""Shape bias and fine-tuning (the study's section on visual factors): fine-tuned models lose shape bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pytest_clip_robust.core.finding import Answer, Effect
from pytest_clip_robust.core.panel_table import ModelFactors, PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.findings.paired import SHAPE_BIAS, difference
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import CONTRASTIVE, ON_LABELS, ZERO_SHOT
from pytest_clip_robust.stats.across_models import mean_effect

SMALLEST = 0.02
"""The tolerance of `shape_bias.RATIO`: a smaller change of shape bias does not count."""


def fine_tuning_lowers_shape_bias(table: PanelTable) -> Answer:
    """Answer whether zero-shot models are more shape-biased than what fine-tuning on labels makes of them.

    Raises:
        MeasurementError: the panel has no such pair of models with a shape bias.
    """
    pairs = [
        (parent, child.model)
        for parent, child in _children(table, ON_LABELS)
        if table.models[parent].fine_tuning == ZERO_SHOT
    ]
    words = "a zero-shot model and one that names it as its parent and was fine-tuned on labels"
    return directed(
        _effect(table, pairs, words),
        smallest=SMALLEST,
        statistic="shape bias of the zero-shot model minus that of its version that was fine-tuned on labels",
    )


def contrastive_tuning_keeps_shape_bias(table: PanelTable) -> Answer:
    """Answer whether contrastive fine-tuning keeps more shape bias than fine-tuning of the same model on labels.

    Raises:
        MeasurementError: the panel has no two models of one parent that were fine-tuned in these two ways.
    """
    pairs = [
        (contrastive.model, other.model)
        for parent, contrastive in _children(table, {CONTRASTIVE})
        for other_parent, other in _children(table, ON_LABELS)
        if parent == other_parent
    ]
    words = "two models of one parent, one fine-tuned with the contrastive loss and one on labels"
    return directed(
        _effect(table, pairs, words),
        smallest=SMALLEST,
        statistic="shape bias after contrastive fine-tuning minus that after fine-tuning on labels",
    )


def _children(table: PanelTable, kinds: set[str] | frozenset[str]) -> Iterator[tuple[str, ModelFactors]]:
    """Yield (label of the parent, model) for the models that were fine-tuned in one of these ways."""
    for model in table.models.values():
        if model.fine_tuning in kinds and model.parent in table.models:
            yield model.parent, model


def _effect(table: PanelTable, pairs: Sequence[tuple[str, str]], words: str) -> Effect:
    """Return the mean over pairs of the first model's shape bias minus the second's, each the mean over sets."""
    by_set = table.rows_of(SHAPE_BIAS).values()
    values, errors, groups = [], [], []
    for one, other in pairs:
        points = [difference(table, rows[one], rows[other]) for rows in by_set if one in rows and other in rows]
        if points:
            values.append(float(np.mean([value for value, _ in points])))
            errors.append(float(np.linalg.norm([error for _, error in points])) / len(points))
            groups.append(table.models[one].group)
    if not values:
        measured = f"; {SHAPE_BIAS} was not measured on both" if pairs else ""
        raise MeasurementError(f"needs {words}{measured}")
    return mean_effect(np.array(values), np.array(errors), groups)


FINDINGS = (
    Finding(
        name="fine_tuning_lowers_shape_bias",
        claim="A zero-shot model is more shape-biased than the same model after fine-tuning on labels.",
        test=fine_tuning_lowers_shape_bias,
    ),
    Finding(
        name="contrastive_tuning_keeps_shape_bias",
        claim="Fine-tuning with the contrastive loss keeps more shape bias than fine-tuning on labels.",
        test=contrastive_tuning_keeps_shape_bias,
    ),
)
