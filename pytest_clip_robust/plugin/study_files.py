"""Tables of the study that a panel run writes next to its results: robustness to factors, and the factor analysis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.factor_analysis import FactorShare, Share, analyse_factors, factor_warnings
from pytest_clip_robust.properties.findings.factor_lines import FactorResidual, factor_residuals
from pytest_clip_robust.report.study import write_csv

ROBUSTNESS, ANALYSIS = "factor_robustness.csv", "factor_analysis.csv"
ANALYSIS_COLUMNS = (
    "metric", "dataset", "factor", "alone", "alone_low", "alone_high", "unique", "unique_low", "unique_high", "models",
    "families", "warning",
)  # fmt: skip


def write_study(table: PanelTable, folder: Path) -> list[str]:
    """Write both tables, and return one line for each that could not be made, and for each factor that is confounded.

    Raises:
        ReportError: the folder cannot be written.
    """
    lines = []
    try:
        residuals = factor_residuals(table)
    except MeasurementError as error:
        lines.append(f"no {ROBUSTNESS}: {error}")
    else:
        columns = [one.name for one in fields(FactorResidual)]
        write_csv(columns, map(asdict, residuals), folder / ROBUSTNESS)
    try:
        shares = analyse_factors(table)
    except MeasurementError as error:
        return [*lines, f"no {ANALYSIS}: {error}"]
    write_csv(ANALYSIS_COLUMNS, _rows(shares), folder / ANALYSIS)
    warnings = factor_warnings(table.models)
    return lines + [f"{ANALYSIS}: {factor} {warning}" for factor, warning in warnings.items()]


def _rows(shares: Iterable[FactorShare]) -> Iterable[dict[str, Any]]:
    for one in shares:
        row = {name: getattr(one, name) for name in ("metric", "dataset", "factor", "models", "families", "warning")}
        yield row | _numbers("alone", one.alone) | _numbers("unique", one.unique)


def _numbers(name: str, share: Share | None) -> dict[str, float]:
    return {} if share is None else {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
