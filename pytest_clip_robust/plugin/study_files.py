"""Tables of the study that a panel run writes next to its results: robustness to factors, and the factor analysis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import FactorResidual, FactorShare, PublishedPoint, Share, StudyResults
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.names import REFERENCE_PANELS
from pytest_clip_robust.properties.factor_analysis import analyse_factors, factor_warnings
from pytest_clip_robust.properties.findings.factor_lines import factor_residuals
from pytest_clip_robust.report.study import write_csv

PUBLISHED = "shift.effective_robustness_"
ROBUSTNESS, ANALYSIS = "factor_robustness.csv", "factor_analysis.csv"
ANALYSIS_COLUMNS = (
    "metric", "dataset", "factor", "alone", "alone_low", "alone_high", "unique", "unique_low", "unique_high", "models",
    "families", "warning",
)  # fmt: skip


def study_of(table: PanelTable, records: Iterable[Record] = ()) -> StudyResults:
    """Return the study's results on a table; `records` of its gates have the lines of published panels."""
    residuals, shares, no_residuals, no_shares = [], [], "", ""
    try:
        residuals = factor_residuals(table)
    except MeasurementError as error:
        no_residuals = str(error)
    try:
        shares = analyse_factors(table)
    except MeasurementError as error:
        no_shares = str(error)
    return StudyResults(
        residuals=tuple(residuals),
        no_residuals=no_residuals,
        shares=tuple(shares),
        no_shares=no_shares,
        warnings=factor_warnings(table.models) if shares else {},
        published=tuple(sorted(set(_published(records)), key=lambda one: (one.dataset, one.panel, one.model))),
    )


def write_study(study: StudyResults, folder: Path) -> list[str]:
    """Write both tables, and return one line for each that could not be made, and for each factor that is confounded.

    Raises:
        ReportError: the folder cannot be written.
    """
    lines = []
    if study.residuals:
        columns = [one.name for one in fields(FactorResidual)]
        write_csv(columns, map(asdict, study.residuals), folder / ROBUSTNESS)
    else:
        lines.append(f"no {ROBUSTNESS}: {study.no_residuals}")
    if not study.shares:
        return [*lines, f"no {ANALYSIS}: {study.no_shares}"]
    write_csv(ANALYSIS_COLUMNS, _rows(study.shares), folder / ANALYSIS)
    return lines + [f"{ANALYSIS}: {factor} {warning}" for factor, warning in study.warnings.items()]


def _published(records: Iterable[Record]) -> Iterator[PublishedPoint]:
    """Yield a point for every model, shift and published panel; panels of a run have no line on the page."""
    for record in records:
        panel = record["metric"].removeprefix(PUBLISHED) if "value" in record else ""
        if panel in REFERENCE_PANELS and record["metric"].startswith(PUBLISHED):
            details = record["details"]
            yield PublishedPoint(
                panel=panel,
                dataset=record["dataset"],
                model=record["model"],
                id_accuracy=details["id_accuracy"],
                shifted_accuracy=details["shifted_accuracy"],
                expected=details["expected_accuracy"],
            )


def _rows(shares: Iterable[FactorShare]) -> Iterable[dict[str, Any]]:
    for one in shares:
        row = {name: getattr(one, name) for name in ("metric", "dataset", "factor", "models", "families", "warning")}
        yield row | _numbers("alone", one.alone) | _numbers("unique", one.unique)


def _numbers(name: str, share: Share | None) -> dict[str, float]:
    return {} if share is None else {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
