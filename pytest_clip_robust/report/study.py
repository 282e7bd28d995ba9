"""Results of the study on a panel: the findings as a table for the terminal, and tables as CSV files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_clip_robust.core.finding import FindingRecord, FindingResult, Status, finding_record
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.terminal import draw, empty_table
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.text import printable

FINDINGS = "findings.csv"
STYLES = {
    Status.HOLDS: "green",
    Status.DOES_NOT_HOLD: "red",
    Status.NOT_DECIDED: "yellow",
}
FINDING_COLUMNS = (
    "finding", "status", "statistic", "value", "low", "high", "unit", "values", "units", "covers", "claim", "why",
)  # fmt: skip


def render_findings(findings: Sequence[FindingRecord], *, width: int, colour: bool) -> str:
    """Return one row per finding that was tested, and one line per reason why others were not.

    The column `models` has the number of models, or pairs of models, and in brackets that of units (`Effect.units`).
    """
    table = empty_table()
    table.add_column("status", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for name in ("effect", "95 % interval", "models"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    tested = [one for one in findings if one["value"] is not None]
    for one in tested:
        table.add_row(
            Text(one["status"], style=STYLES[Status(one["status"])]),
            Text(printable(one["claim"])),
            *(Text(text, style=style) for text, style in zip(effect_cells(one), ("bold", "", ""), strict=True)),
            Text(printable(one["reason"])),
        )
    parts: list[Table | Text] = [table] if tested else []
    reasons = Counter(one["why"] for one in findings if one["value"] is None)
    parts += [
        Text(f"{Status.NOT_TESTED} ({count} finding{'' if count == 1 else 's'}): {printable(why)}")
        for why, count in reasons.items()
    ]
    return draw([*parts, Text(f"findings: {tally(findings)}")], width=width, colour=colour)


def effect_cells(finding: FindingRecord) -> tuple[str, str, str]:
    """Return the effect, its interval, and the numbers of models and units; empty if the finding was not tested."""
    if finding["value"] is None:
        return "", "", ""
    unit = f" {finding['unit']}" if finding["unit"] else ""
    interval = f"{finding['low']:+.3f} to {finding['high']:+.3f}"
    return f"{finding['value']:+.3f}{unit}", interval, f"{finding['values']} ({finding['units']})"


def tally(findings: Iterable[FindingRecord]) -> str:
    """Return how many findings have each status, such as ``2 holds, 1 not tested``."""
    counts = Counter(one["status"] for one in findings)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def write_findings(results: Iterable[FindingResult], folder: Path) -> None:
    """Write findings.csv: one row per finding. `values` and `units` are `models` and `units` of its effect.

    Raises:
        ReportError: the folder cannot be written.
    """
    records = map(finding_record, results)
    rows = ({name: value for name, value in one.items() if name in FINDING_COLUMNS} for one in records)
    write_csv(FINDING_COLUMNS, rows, folder / FINDINGS)


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write rows as a CSV file, whole or not at all; None is an empty field.

    Raises:
        ReportError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise ReportError(f"{path.parent}: cannot write {path.name}: {error}") from error
