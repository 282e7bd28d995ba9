"""Rank correlations over zero-shot models: accuracy with OOD detection, and accuracy with retrieval."""

from __future__ import annotations

from functools import partial

import numpy as np

from pytest_clip_robust.core.finding import Answer
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import (
    TOP_1,
    chosen,
    common,
    groups_of,
    is_zero_shot,
    means_over_sets,
)
from pytest_clip_robust.stats.across_models import FEWEST_FAMILIES, rank_correlation

SMALLEST = 0.3
"""A rank correlation below this does not count: at 0.3, two models are in the same order in 65 % of pairs."""

AUROC = "ood.auroc_mcm"
RECALL = "retrieval.recall_at_1_{way}"


def detection_ranks_like_accuracy(table: PanelTable) -> Answer:
    """Answer whether, within each source of training data, zero-shot models with higher accuracy detect OOD better.

    Top-1 accuracy on the ID sets and AUROC of MCM on the OOD sets, each the mean over sets.

    Raises:
        MeasurementError: too few zero-shot models have a known source with another model of the same source.
    """
    labels = chosen(
        table,
        lambda one: is_zero_shot(one) and one.training_data is not None,
        "zero-shot models with known training data",
        fewest=FEWEST_FAMILIES,
    )
    accuracy, detection = (means_over_sets(table, metric, labels=labels) for metric in (TOP_1, AUROC))
    both = common(accuracy, detection, words=f"zero-shot models with {TOP_1} and {AUROC}", fewest=2)
    sources = [str(table.models[label].training_data) for label in both]
    if max(sources.count(one) for one in sources) < 2:
        raise MeasurementError("needs two or more zero-shot models of one source of training data, and has none")
    effect = rank_correlation(
        np.array([accuracy[label][0] for label in both]),
        np.array([detection[label][0] for label in both]),
        groups=groups_of(table, both),
        strata=sources,
    )
    return directed(
        effect,
        smallest=SMALLEST,
        statistic="Kendall's tau of ID accuracy and OOD AUROC (MCM), within one source of training data,",
    )


def retrieval_follows_accuracy(table: PanelTable, way: str) -> Answer:
    """Answer whether zero-shot models with higher accuracy have a higher recall at 1.

    way: ``image_to_text`` or ``text_to_image``.

    Raises:
        MeasurementError: too few zero-shot models have both.
    """
    recall_at_1 = RECALL.format(way=way)
    labels = chosen(table, is_zero_shot, "zero-shot models", fewest=FEWEST_FAMILIES)
    accuracy, recall = (means_over_sets(table, metric, labels=labels) for metric in (TOP_1, recall_at_1))
    both = common(accuracy, recall, words=f"zero-shot models with {TOP_1} and {recall_at_1}", fewest=2)
    effect = rank_correlation(
        np.array([accuracy[label][0] for label in both]),
        np.array([recall[label][0] for label in both]),
        groups=groups_of(table, both),
    )
    words = f"Kendall's tau of ID accuracy and recall at 1, {way.replace('_', ' ')},"
    return directed(effect, smallest=SMALLEST, statistic=words)


FINDINGS = (
    Finding(
        name="ood_detection_ranks_like_accuracy",
        claim="Within one source of training data, ID accuracy and OOD detection rank models in the same way.",
        test=detection_ranks_like_accuracy,
    ),
    *(
        Finding(
            name=f"retrieval_follows_accuracy_{way}",
            claim=f"Models with a higher classification accuracy have a higher recall at 1, {way.replace('_', ' ')}.",
            test=partial(retrieval_follows_accuracy, way=way),
        )
        for way in ("image_to_text", "text_to_image")
    ),
)
