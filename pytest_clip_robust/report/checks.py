"""Tables and check.json of ``--clip-check``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from rich.text import Text

from pytest_clip_robust.core.checks import Check, CheckedModel, Status
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.document import package_versions
from pytest_clip_robust.report.terminal import draw, empty_table
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.text import printable

SCHEMA = 1
STYLES = {Status.FAILED: "bold red", Status.WARNING: "yellow", Status.OK: "green", Status.NOT_APPLICABLE: "dim"}


class CheckRow(TypedDict):
    """One check; `fix` is ``""`` unless its status is ``failed`` or ``warning``."""

    name: str
    status: str
    measured: str
    expected: str
    fix: str


class CheckedModelRow(TypedDict):
    """One model: `label` is its spec, `seconds` those that loading and checking took."""

    label: str
    failed: bool
    seconds: float
    notes: list[str]
    checks: list[CheckRow]


class CheckDocument(TypedDict):
    """The content of check.json. created: ISO 8601, in UTC."""

    schema: int
    created: str
    exit_status: int
    versions: dict[str, str]
    device: str
    precision: str
    models: list[CheckedModelRow]


def render_checks(model: CheckedModel, *, width: int, colour: bool) -> str:
    """Return the table of one model, and below it a line for each check that is not ok, with its fix."""
    table = empty_table()
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("measured", overflow="fold", ratio=3)
    table.add_column("expected", overflow="fold", ratio=2)
    for check in model.checks:
        table.add_row(
            Text(str(check.status), style=STYLES[check.status]),
            check.name,
            Text(printable(check.measured)),
            Text(printable(check.expected) or "-"),
        )
    lines = [_fix_line(check) for check in model.checks if check.fix]
    notes = [Text(f"note: {printable(note)}") for note in model.notes]
    title = Text(f"\n{model.label}", style="bold")
    text = draw([title, table, *lines, *notes, _tally(model)], width=width, colour=colour)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def build_checks(models: Sequence[CheckedModel], *, device: str, precision: str, exit_status: int) -> CheckDocument:
    """Return the content of check.json."""
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_status": exit_status,
        "versions": package_versions(),
        "device": device,
        "precision": precision,
        "models": [_model_row(model) for model in models],
    }


def write_checks(document: CheckDocument, path: Path) -> None:
    """Write check.json whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        write_whole(path, (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise ReportError(f"--clip-report {path.parent}: cannot write {path.name}: {error}") from error


def _fix_line(check: Check) -> Text:
    return Text.assemble((f"{check.status} {check.name}: ", STYLES[check.status]), printable(check.fix))


def _tally(model: CheckedModel) -> Text:
    counts = Counter(check.status for check in model.checks)
    line = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return Text(f"{line}; {model.seconds:.1f} s", style="bold red" if model.failed else "bold green")


def _model_row(model: CheckedModel) -> CheckedModelRow:
    return {
        "label": model.label,
        "failed": model.failed,
        "seconds": round(model.seconds, 2),
        "notes": list(model.notes),
        "checks": [
            {
                "name": check.name,
                "status": str(check.status),
                "measured": check.measured,
                "expected": check.expected,
                "fix": check.fix,
            }
            for check in model.checks
        ],
    }
