"""The properties that the page of a panel shows, in the study's order, with their values over models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_clip_robust.core.panel_table import PanelRow, PanelTable
from pytest_clip_robust.errors import MeasurementError

ACCURACY = "zero_shot.top1"


@dataclass(frozen=True, slots=True)
class Headline:
    """A property: the id of its metric, its title, the title of the group of figures that it belongs to.

    is_accuracy: whether its figures have a probit axis.
    """

    metric: str
    title: str
    group: str
    is_accuracy: bool = True


CHANGED = "Accuracy on changed images"
BEYOND = "Shape bias, OOD detection and calibration"
TEXTS = "Images and texts"
PARTS = "Parts of objects and scenes"
LARGE = "Large multimodal models"

HEADLINES = (
    Headline(ACCURACY, "accuracy in distribution", ""),
    Headline("shift.top1", "accuracy under natural shift", CHANGED),
    Headline("visual_factors.average", "accuracy with visual factors", CHANGED),
    Headline("visual_factors.worst_factor_top", "accuracy on the worst factor", CHANGED),
    Headline("visual_factors.worst_factor_multi", "accuracy on the worst factor", CHANGED),
    Headline("corruption.mean_top1", "accuracy under corruption", CHANGED),
    Headline("typographic.top1", "accuracy with a painted word", CHANGED),
    Headline("shape_bias.ratio_direct", "shape bias", BEYOND, is_accuracy=False),
    Headline("ood.auroc_mcm", "OOD detection, AUROC (MCM)", BEYOND, is_accuracy=False),
    Headline("calibration.ece_15_equal_width", "calibration error, ECE", BEYOND, is_accuracy=False),
    Headline("calibration.ece_15_equal_width_scaled", "ECE, temperature scaled", BEYOND, is_accuracy=False),
    Headline("retrieval.recall_at_1_image_to_text", "recall at 1, image to text", TEXTS),
    Headline("retrieval.recall_at_1_text_to_image", "recall at 1, text to image", TEXTS),
    Headline("composition.accuracy", "composition, accuracy", TEXTS),
    Headline("word_order.accuracy", "word order, accuracy", TEXTS),
    Headline("composition.winoground_group", "Winoground, group score", TEXTS),
    Headline("correspondence.recall_2cm", "points, recall within 2 cm", PARTS),
    Headline("correspondence.pck_10", "keypoints, PCK at 0.1", PARTS),
    Headline("multimodal.accuracy_all_way_likelihood_sum", "accuracy of answers", LARGE),
)
"""The headline metrics of the suites, and others that findings compare, group by group."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value with its interval; the ends are None if they are not known."""

    value: float
    low: float | None
    high: float | None

    @property
    def span(self) -> tuple[float, float] | None:
        """The interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def measured(table: PanelTable, metric: str) -> dict[str, dict[str, Value]]:
    """Return data set -> label -> value of a metric on whole sets; sets are left out that no model has.

    Raises:
        MeasurementError: models were measured on different images under one name.
    """
    found = {}
    for where, rows in table.rows_of(metric).items():
        values = {label: value for label, row in rows.items() if (value := _value(row)) is not None}
        if values:
            found[where.removesuffix("/")] = values
    return found


def means(by_set: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Return each model's mean over all sets, by label; models that lack a set are left out.

    Half widths of intervals are added in quadrature.

    >>> means({"a": {"m": Value(0.2, 0.1, 0.3)}, "b": {"m": Value(0.6, 0.6, 0.6), "n": Value(1, 1, 1)}})
    {'m': Value(value=0.4, low=0.35000000000000003, high=0.45)}
    """
    if not by_set:
        return {}
    found = {}
    for label in sorted(set.intersection(*(set(values) for values in by_set.values()))):
        values = [by_set[name][label] for name in by_set]
        mean = sum(one.value for one in values) / len(values)
        below, above = (
            None if None in ends else math.hypot(*(one.value - end for one, end in zip(values, ends, strict=True)))  # type: ignore[operator]
            for ends in ([one.low for one in values], [one.high for one in values])
        )
        known = below is not None and above is not None
        low, high = (mean - below / len(values), mean + above / len(values)) if known else (None, None)  # type: ignore[operator]
        found[label] = Value(mean, low, high)
    return found


def headline_means(table: PanelTable) -> dict[Headline, dict[str, Value]]:
    """Return each model's mean over sets of every headline that the panel has and that can be compared."""
    found = {}
    for headline in HEADLINES:
        try:
            values = means(measured(table, headline.metric))
        except MeasurementError:
            continue
        if values:
            found[headline] = values
    return found


def _value(row: PanelRow) -> Value | None:
    if row.value is None or not math.isfinite(row.value):
        return None
    ends = [end if end is not None and math.isfinite(end) else None for end in (row.low, row.high)]
    return Value(row.value, *ends)
