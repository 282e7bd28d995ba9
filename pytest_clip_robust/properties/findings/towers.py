"""Architecture: at the same clean accuracy, convolutional image towers hold up better under 3D corruption than ViTs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from pytest_clip_robust.core.finding import Answer
from pytest_clip_robust.core.panel_table import ModelFactors, PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.findings.lines import FEWEST_REFERENCES, Points, mean_residual
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import (
    CONVOLUTIONAL,
    TOP_1,
    TRANSFORMERS,
    Point,
    chosen,
    common,
    error_of,
    groups_of,
    is_zero_shot,
    mean_rows,
    means_over_sets,
    value_of,
)

SMALLEST = 1.0
"""Points of accuracy; a smaller difference does not count."""

SEVERITY = "5"
CORRUPTED, MEAN, RELATIVE = "corruption.top1", "corruption.mean_top1", "corruption.relative_robustness"


def convolutions_withstand_corruption(table: PanelTable) -> Answer:
    """Answer whether, at equal clean accuracy, convolutional towers are above ViT towers at severity 5.

    x is the clean accuracy of the same images, y the mean accuracy over the kinds of corruption. The line is fitted to
    the ViT towers if they are of `FEWEST_REFERENCES` families or more, else to the convolutional ones.

    Raises:
        MeasurementError: the panel has too few zero-shot models of either kind, or they were not measured.
    """
    kinds = {"ViT": TRANSFORMERS, "convolutional": CONVOLUTIONAL}
    labels = {
        kind: chosen(table, partial(_has_tower, families=families), f"zero-shot models with a {kind} tower")
        for kind, families in kinds.items()
    }
    corrupted, clean = _corrupted(table, [label for of_kind in labels.values() for label in of_kind]), _clean(table)
    vits, convolutional = (_points(table, kind, labels[kind], clean, corrupted) for kind in kinds)
    vits_first = len(set(vits.groups)) >= FEWEST_REFERENCES
    if not vits_first and len(set(convolutional.groups)) < FEWEST_REFERENCES:
        raise MeasurementError(
            f"needs zero-shot models of {FEWEST_REFERENCES} or more families with one kind of tower, and the panel has "
            f"{len(set(vits.groups))} with ViT towers and {len(set(convolutional.groups))} with convolutional ones"
        )
    effect = mean_residual(vits, convolutional) if vits_first else mean_residual(convolutional, vits).negated()
    return directed(
        effect,
        smallest=SMALLEST,
        statistic="accuracy of convolutional towers at severity 5 minus that of ViT towers at equal clean accuracy",
        unit="points",
    )


def _has_tower(model: ModelFactors, families: frozenset[str]) -> bool:
    return is_zero_shot(model) and model.family in families


def _corrupted(table: PanelTable, labels: Sequence[str]) -> dict[str, Point]:
    """Return the mean accuracy over kinds at the severity; the same images are behind all kinds, so errors add up."""
    by_kind = {
        where: rows
        for where, rows in table.rows_of(CORRUPTED, subset=None).items()
        if where.rpartition("/")[2] == SEVERITY
    }
    means = mean_rows(by_kind, f"{CORRUPTED} at severity {SEVERITY}", labels=labels)
    return {
        label: (mean, float(np.mean([error_of(rows[label]) for rows in by_kind.values()])))
        for label, (mean, _) in means.items()
    }


def _clean(table: PanelTable) -> dict[str, Point]:
    """Return the clean accuracy of the images that were corrupted, or else of the ID sets."""
    ratios, means = table.rows_of(RELATIVE), table.rows_of(MEAN)
    sets = sorted(set(ratios) & set(means))
    if not sets:
        return means_over_sets(table, TOP_1)
    found = {}
    for label in sorted(set.intersection(*(set(ratios[one]) & set(means[one]) for one in sets))):
        pairs = [(means[one][label], ratios[one][label]) for one in sets]
        clean = [value_of(mean) / value_of(ratio) for mean, ratio in pairs if value_of(ratio) > 0]
        if len(clean) == len(sets):
            variances = [p * (1 - p) / (mean.n or 1) for p, (mean, _) in zip(clean, pairs, strict=True)]
            found[label] = (float(np.mean(clean)), max(0.0, sum(variances)) ** 0.5 / len(sets))
    return found


def _points(
    table: PanelTable, kind: str, labels: Sequence[str], x: Mapping[str, Point], y: Mapping[str, Point]
) -> Points:
    """Return the models of one kind of tower that have both accuracies."""
    of_kind = {label: y[label] for label in labels if label in y}
    words = f"models with a {kind} tower, {CORRUPTED} at severity {SEVERITY} and a clean accuracy"
    found = common(of_kind, x, words=words)
    return Points(
        labels=found,
        groups=groups_of(table, found),
        x=np.array([x[label][0] for label in found]),
        y=np.array([y[label][0] for label in found]),
        x_errors=np.array([x[label][1] for label in found]),
        y_errors=np.array([y[label][1] for label in found]),
        shared=np.zeros(len(found)),
    )


FINDINGS = (
    Finding(
        name="convolutional_towers_withstand_corruption",
        claim="At equal clean accuracy, convolutional towers withstand 3D corruption at severity 5 better than ViTs.",
        test=convolutions_withstand_corruption,
    ),
)
