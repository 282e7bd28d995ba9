"""Rows of a panel's table that a finding needs: by fine-tuning, by family of image tower, and averaged over sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy.special import ndtri

from pytest_clip_robust.core.panel_table import ModelFactors, PanelRow, PanelTable
from pytest_clip_robust.errors import MeasurementError

ZERO_SHOT = "zero-shot"
ON_LABELS = frozenset({"cross-entropy", "classifier head"})
"""Kinds of fine-tuning on class labels."""
CONTRASTIVE = "contrastive"

CONVOLUTIONAL = frozenset(
    {"ResNet", "ResNet V2", "ResNeXt", "Wide ResNet", "ConvNeXt", "ConvNeXt V2", "EfficientNet", "EfficientNet V2"}
    | {"MobileNet V2", "MobileNet V3", "RegNet", "DenseNet", "VGG", "Inception"}
)
TRANSFORMERS = frozenset({"ViT", "EVA", "DeiT", "BEiT"})
"""Families of image towers that are convolutional networks, and plain vision transformers. Hybrids are neither."""

TOP_1 = "zero_shot.top1"

Point = tuple[float, float]
"""A value and its standard error from the choice of images."""


def is_zero_shot(model: ModelFactors) -> bool:
    """Return whether a model is a CLIP model that was not fine-tuned, and no reference model."""
    return model.fine_tuning == ZERO_SHOT and not model.reference


def chosen(table: PanelTable, belongs: Callable[[ModelFactors], bool], words: str, *, fewest: int = 1) -> list[str]:
    """Return the labels of the models that belong to a group, sorted.

    Raises:
        MeasurementError: there are fewer than `fewest`; `words` names the group.
    """
    found = [label for label, model in table.models.items() if belongs(model)]
    if len(found) < fewest:
        raise MeasurementError(f"needs {fewest} or more {words}, and the panel has {len(found) or 'none'}")
    return found


def means_over_sets(
    table: PanelTable, metric: str, *, labels: Iterable[str] | None = None, subset: str = ""
) -> dict[str, Point]:
    """Return each model's mean of a metric over all of its data sets, with its standard error, by label.

    Every model must have the same sets, or their means could not be compared: models that lack a set are left out.

    Raises:
        MeasurementError: no model of `labels` (by default, of the panel) has the metric.
    """
    return mean_rows(table.rows_of(metric, subset=subset), metric, labels=labels)


def mean_rows(
    by_set: Mapping[str, Mapping[str, PanelRow]], metric: str, *, labels: Iterable[str] | None = None
) -> dict[str, Point]:
    """Return the same for rows by set and label; `metric` names them in the message."""
    wanted = None if labels is None else set(labels)
    every = sorted({label for rows in by_set.values() for label in rows if wanted is None or label in wanted})
    complete = [label for label in every if all(label in rows for rows in by_set.values())]
    if not complete:
        found_on = "no model on all of its sets" if every else "no model"
        raise MeasurementError(f"needs {metric}, and the run measured it on {found_on}")
    found = {}
    for label in complete:
        rows = [rows[label] for rows in by_set.values()]
        errors = [error_of(row) for row in rows]
        found[label] = (float(np.mean([value_of(row) for row in rows])), float(np.linalg.norm(errors)) / len(rows))
    return found


def common(*points: Mapping[str, Point], words: str, fewest: int = 1) -> list[str]:
    """Return the labels that all mappings have, sorted.

    Raises:
        MeasurementError: there are fewer than `fewest`; `words` names the models.
    """
    found = sorted(set.intersection(*(set(one) for one in points)))
    if len(found) < fewest:
        raise MeasurementError(f"needs {fewest} or more {words}, and the run measured {len(found) or 'none'}")
    return found


def value_of(row: PanelRow) -> float:
    """Return the value of a row that has one."""
    assert row.value is not None  # noqa: S101 - `PanelTable.rows_of` returns rows with a value
    return row.value


def error_of(row: PanelRow) -> float:
    """Return the standard error that the interval of a row has, from half of its width."""
    assert row.low is not None and row.high is not None and row.level is not None  # noqa: S101, PT018 - as above
    return (row.high - row.low) / (2 * float(ndtri(0.5 + row.level / 2)))


def groups_of(table: PanelTable, labels: Iterable[str]) -> list[str]:
    """Return the name of each model's family."""
    return [table.models[label].group for label in labels]
