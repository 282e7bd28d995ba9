"""Files of a run's report, written by the process that owns the terminal; they are never a reason to lose another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.document import Document, write_document
from pytest_clip_robust.report.html.render import write_page
from pytest_clip_robust.report.results import write_results
from pytest_clip_robust.report.summary import append_step_summary, step_summary_file, write_summary


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a report: a line for the terminal about each file, and whether any could not be written."""

    lines: list[str]
    failed: bool


def write_reports(document: Document, folder: Path | None, *, seen_from: Path) -> Written:
    """Write every file of the report; one that cannot be written does not keep the others from being written.

    In a job of GitHub Actions, the summary is also appended to that of the step. A run does not fail for that one:
    its result is in the log and in the exit status.

    Args:
        document: of the run.
        folder: of the files; it is created if it is missing. None writes no files.
        seen_from: the folder that paths in the lines are relative to.
    """
    writers: dict[str, Callable[[Document, Path], None]] = {
        "report.json": write_document,
        "index.html": write_page,
        "summary.md": write_summary,
        "results.parquet": write_results,
    }
    written, errors = [], []
    for name, write in writers.items():
        if folder is None:
            break
        path = folder / name
        try:
            write(document, path)
        except ReportError as error:
            errors.append(str(error))
        else:
            written.append(os.path.relpath(path, seen_from))
    lines = [f"report: {', '.join(written)}"] if written else []
    return Written(lines + errors + _append_to_step(document), failed=bool(errors))


def _append_to_step(document: Document) -> list[str]:
    path = step_summary_file()
    try:
        if path is not None:
            append_step_summary(document, path)
    except ReportError as error:
        return [str(error)]
    return []
