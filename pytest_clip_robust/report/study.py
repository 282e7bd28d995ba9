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

from pytest_clip_robust.core.finding import FindingResult, Status
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


def render_findings(results: Sequence[FindingResult], *, width: int, colour: bool) -> str:
    """Return one row per finding that was tested, and one line per reason why others were not.

    The column `models` has the number of models, or pairs of models, and in brackets that of units (`Effect.units`).
    """
    table = empty_table()
    table.add_column("status", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for name in ("effect", "95 % interval", "models"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    tested = [one for one in results if one.answer is not None]
    for one in tested:
        assert one.answer is not None  # noqa: S101 - mypy does not see the line above
        effect, unit = one.answer.effect, f" {one.answer.unit}" if one.answer.unit else ""
        table.add_row(
            Text(str(one.status), style=STYLES[one.status]),
            Text(printable(one.claim)),
            Text(f"{effect.value:+.3f}{unit}", style="bold"),
            Text(f"{effect.low:+.3f} to {effect.high:+.3f}"),
            Text(f"{effect.models} ({effect.units})"),
            Text(printable(one.answer.reason)),
        )
    parts: list[Table | Text] = [table] if tested else []
    reasons = Counter(one.why for one in results if one.answer is None)
    parts += [
        Text(f"{Status.NOT_TESTED} ({count} finding{'' if count == 1 else 's'}): {printable(why)}")
        for why, count in reasons.items()
    ]
    counts = Counter(one.status for one in results)
    tally = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return draw([*parts, Text(f"findings: {tally}")], width=width, colour=colour)


def write_findings(results: Iterable[FindingResult], folder: Path) -> None:
    """Write findings.csv: one row per finding. `values` and `units` are `models` and `units` of its effect.

    Raises:
        ReportError: the folder cannot be written.
    """
    write_csv(FINDING_COLUMNS, map(_finding_row, results), folder / FINDINGS)


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


def _finding_row(result: FindingResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "finding": result.name,
        "status": str(result.status),
        "claim": result.claim,
        "why": result.why,
    }
    if result.answer is None:
        return row
    effect = result.answer.effect
    return row | {
        "statistic": result.answer.statistic,
        "unit": result.answer.unit,
        "value": effect.value,
        "low": effect.low,
        "high": effect.high,
        "values": effect.models,
        "units": effect.units,
        "covers": effect.of,
    }
