"""Files of a run's report, written by the process that owns the terminal; they are never a reason to lose another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.document import Document, write_document
from pytest_clip_robust.report.html.render import write_page


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a report: a line for the terminal about each file, and whether any could not be written."""

    lines: list[str]
    failed: bool


def write_reports(document: Document, folder: Path, *, seen_from: Path) -> Written:
    """Write every file of the report; one that cannot be written does not keep the others from being written.

    Args:
        document: of the run.
        folder: of the files; it is created if it is missing.
        seen_from: the folder that paths in the lines are relative to.
    """
    writers: dict[str, Callable[[Document, Path], None]] = {"report.json": write_document, "index.html": write_page}
    written, errors = [], []
    for name, write in writers.items():
        try:
            write(document, folder / name)
        except ReportError as error:
            errors.append(str(error))
        else:
            written.append(os.path.relpath(folder / name, seen_from))
    lines = [f"report: {', '.join(written)}"] if written else []
    return Written(lines + errors, failed=bool(errors))
