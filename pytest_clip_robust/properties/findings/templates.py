"""Test-time prompts: fewer templates help OOD detection and calibration, and leave visual factors as they are."""

from __future__ import annotations

import numpy as np

from pytest_clip_robust.core.finding import Answer, Effect
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.properties.findings.result import Finding, directed, unchanged
from pytest_clip_robust.properties.findings.selection import groups_of, means_over_sets
from pytest_clip_robust.stats.across_models import mean_effect

SMALLEST = 0.01
"""The tolerance of `prompts.FEWER`: a smaller change of AUROC, ECE or accuracy does not count."""

FEWER = "prompts.fewer_templates_"


def fewer_templates_help_detection(table: PanelTable) -> Answer:
    """Answer whether fewer templates raise the AUROC of MCM, in the mean over OOD sets.

    Raises:
        MeasurementError: no model has the measurement.
    """
    words = "AUROC (MCM) with the fewest templates minus that with the most"
    return directed(_effect(table, f"{FEWER}auroc_mcm"), smallest=SMALLEST, statistic=words)


def fewer_templates_help_calibration(table: PanelTable) -> Answer:
    """Answer whether fewer templates lower ECE, in the mean over ID and shifted sets.

    Raises:
        MeasurementError: no model has the measurement.
    """
    words = "ECE with the most templates minus that with the fewest"
    effect = _effect(table, f"{FEWER}ece_15_equal_width").negated()
    return directed(effect, smallest=SMALLEST, statistic=words)


def fewer_templates_leave_factors(table: PanelTable) -> Answer:
    """Answer whether fewer templates leave the accuracy on images with visual factors as it is, within `SMALLEST`.

    Raises:
        MeasurementError: no model has the measurement.
    """
    words = "accuracy on annotated images with the fewest templates minus that with the most"
    return unchanged(_effect(table, f"{FEWER}factor_average"), largest=SMALLEST, statistic=words)


def _effect(table: PanelTable, metric: str) -> Effect:
    points = means_over_sets(table, metric)
    values, errors = (np.array(one) for one in zip(*points.values(), strict=True))
    return mean_effect(values, errors, groups_of(table, points))


FINDINGS = (
    Finding(
        name="fewer_templates_help_ood_detection",
        claim="Fewer prompt templates help OOD detection.",
        test=fewer_templates_help_detection,
    ),
    Finding(
        name="fewer_templates_help_calibration",
        claim="Fewer prompt templates help calibration.",
        test=fewer_templates_help_calibration,
    ),
    Finding(
        name="fewer_templates_leave_factors",
        claim="The number of prompt templates does not change robustness to visual factors.",
        test=fewer_templates_leave_factors,
    ),
)
