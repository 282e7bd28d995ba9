"""Large multimodal models: one beats the CLIP tower it is built on only where the tower is weak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_clip_robust.core.finding import Answer, Status
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import common, groups_of, mean_rows
from pytest_clip_robust.stats.across_models import mean_effect

SMALLEST = 0.01
"""The tolerance of the gain over the tower: a smaller gain does not count."""

VARIANT = "all_way_likelihood_sum"
"""All classes are candidates, and the most likely name is the answer."""
GAIN = f"multimodal.gain_over_tower_{VARIANT}"
WHERE_WEAK = f"multimodal.gain_where_weak_{VARIANT}"


def gains_only_where_tower_is_weak(table: PanelTable) -> Answer:
    """Answer whether large multimodal models gain on the categories that are hard for their tower, and not on others.

    It holds if the gain on the challenging categories and its difference from the gain on the others are above 0, and
    the gain on the others is not. It does not hold if the first gain is certainly too small to count, or the gain on
    the others is certainly above 0.

    Raises:
        MeasurementError: no model of the panel has the gains.
    """
    parts = [
        mean_rows(table.rows_of(metric, subset=subset), metric)
        for metric, subset in ((WHERE_WEAK, ""), (GAIN, "challenging"), (GAIN, "others"))
    ]
    labels = common(*parts, words=f"large multimodal models with {GAIN}")
    effect, weak, others = (
        mean_effect(
            np.array([part[label][0] for label in labels]),
            np.array([part[label][1] for label in labels]),
            groups_of(table, labels),
        )
        for part in parts
    )
    answer = directed(
        effect,
        smallest=SMALLEST,
        statistic="gain over the tower on the categories that are hard for it minus the gain on the others",
    )
    gains = f"gain {weak.value:+.3f} ({weak.low:+.3f} to {weak.high:+.3f}) on hard categories, {others.value:+.3f} ("
    gains += f"{others.low:+.3f} to {others.high:+.3f}) on the others"
    if weak.high < SMALLEST:
        return replace(
            answer, status=Status.DOES_NOT_HOLD, reason=f"there is no gain that counts where it is weak: {gains}"
        )
    if others.low > 0:
        return replace(answer, status=Status.DOES_NOT_HOLD, reason=f"there is a gain on the others as well: {gains}")
    if answer.status == Status.HOLDS and weak.low <= 0:
        reason = f"the difference is above 0, but the gain on hard categories need not be: {gains}"
        return replace(answer, status=Status.NOT_DECIDED, reason=reason)
    return replace(answer, reason=f"{answer.reason}; {gains}")


FINDINGS = (
    Finding(
        name="lmm_gains_only_where_tower_is_weak",
        claim="A large multimodal model beats its CLIP tower only on the categories that are hard for the tower.",
        test=gains_only_where_tower_is_weak,
    ),
)
