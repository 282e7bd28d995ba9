"""Architecture: at the same clean accuracy, convolutional image towers hold up better under 3D corruption than ViTs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pytest_clip_robust.core.finding import Answer
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.properties.findings.lines import FEWEST_REFERENCES, Points, mean_residual
from pytest_clip_robust.properties.findings.result import directed
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
    """Answer whether convolutional towers are above the line of ViT towers under corruption at severity 5.

    x is the clean accuracy of the same images, y the mean accuracy over the kinds of corruption at severity 5.

    Raises:
        MeasurementError: the panel has too few zero-shot models of either kind, or they were not measured.
    """
    vits = chosen(
        table,
        lambda one: is_zero_shot(one) and one.family in TRANSFORMERS,
        "zero-shot models with a ViT tower",
        fewest=FEWEST_REFERENCES,
    )
    convolutional = chosen(
        table,
        lambda one: is_zero_shot(one) and one.family in CONVOLUTIONAL,
        "zero-shot models with a convolutional tower",
    )
    corrupted, clean = _corrupted(table, vits + convolutional), _clean(table)
    words = f"with {CORRUPTED} at severity {SEVERITY} and a clean accuracy"
    lines = [
        common(
            {label: point for label, point in corrupted.items() if label in group},
            clean,
            words=f"models of {kind} towers {words}",
        )
        for kind, group in (("ViT", vits), ("convolutional", convolutional))
    ]
    reference, tested = (_points(table, labels, clean, corrupted) for labels in lines)
    return directed(
        mean_residual(reference, tested),
        smallest=SMALLEST,
        statistic="accuracy of convolutional towers at severity 5 minus that of ViT towers with their clean accuracy",
        unit="points",
    )


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


def _points(table: PanelTable, labels: Sequence[str], x: dict[str, Point], y: dict[str, Point]) -> Points:
    return Points(
        labels=labels,
        groups=groups_of(table, labels),
        x=np.array([x[label][0] for label in labels]),
        y=np.array([y[label][0] for label in labels]),
        x_errors=np.array([x[label][1] for label in labels]),
        y_errors=np.array([y[label][1] for label in labels]),
        shared=np.zeros(len(labels)),
    )


FINDINGS: tuple[tuple[str, str, Callable[[PanelTable], Answer]], ...] = (
    (
        "convolutional_towers_withstand_corruption",
        "At equal clean accuracy, convolutional towers hold up better than ViTs under 3D corruption at severity 5.",
        convolutions_withstand_corruption,
    ),
)
"""Name, claim and test of each finding."""
