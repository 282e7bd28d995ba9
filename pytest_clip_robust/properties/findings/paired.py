"""Differences between two measurements of a panel, in pairs if both have stored what each sample contributed."""

from __future__ import annotations

from collections.abc import Callable

from pytest_clip_robust.core.evidence import Evidence, Stratum
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.core.panel_table import PanelRow, PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.calibration import error_evidence
from pytest_clip_robust.properties.findings.selection import Point, value_of
from pytest_clip_robust.properties.shape_bias import ratio_evidence
from pytest_clip_robust.stats.paired import Comparison, bootstrap, unpaired

SHAPE_BIAS = "shape_bias.ratio_direct"
ECE, SCALED_ECE = "calibration.ece_15_equal_width", "calibration.ece_15_equal_width_scaled"

PAIRED: dict[str, Callable[[Stratum], Evidence]] = {
    SHAPE_BIAS: ratio_evidence,
    ECE: error_evidence,
    SCALED_ECE: error_evidence,
}
"""The metrics whose per-sample outcomes a run with ``--clip-panel`` keeps, and how their value follows from them."""


def difference(table: PanelTable, before: PanelRow, after: PanelRow) -> Point:
    """Return ``before - after`` and its standard error.

    Both rows have the same metric, or metrics of the same statistic. If the table has the outcomes of both on the same
    samples, samples are resampled in pairs (`stats.paired.bootstrap`). Otherwise the error follows from both intervals,
    as if the samples were independent, which overestimates it.

    Raises:
        MeasurementError: one of the rows has no value.
    """
    change = _paired(table, before, after) or unpaired(_side(before), _side(after), direction="higher")
    return value_of(before) - value_of(after), change.error


def _paired(table: PanelTable, before: PanelRow, after: PanelRow) -> Comparison | None:
    evidence = [_evidence(table, row) for row in (before, after)]
    if evidence[0] is None or evidence[1] is None or evidence[0].shape() != evidence[1].shape():
        return None
    return bootstrap(evidence[0], evidence[1], direction="higher", difference=value_of(after) - value_of(before))


def _evidence(table: PanelTable, row: PanelRow) -> Evidence | None:
    columns = table.outcomes.get(row.outcomes)
    if not row.outcomes or columns is None or row.metric not in PAIRED:
        return None
    strata = {stratum for stratum, _, _ in columns}
    if len(strata) != 1:
        return None
    return PAIRED[row.metric](Stratum(name=strata.pop(), columns={name: values for _, name, values in columns}))


def _side(row: PanelRow) -> tuple[float, Interval]:
    if row.low is None or row.high is None or row.level is None:
        raise MeasurementError(f"{row.factors.model}: {row.key} has no interval")
    return value_of(row), Interval(row.low, row.high, row.level, "")
