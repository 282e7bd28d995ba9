"""Files of a run's report, written by the process that owns the terminal; they are never a reason to lose another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.plugin.keys import RUN, SESSION
from pytest_clip_robust.report.document import Document, write_document
from pytest_clip_robust.report.html.pictures import Picture, Pictures, Shot
from pytest_clip_robust.report.html.render import write_page
from pytest_clip_robust.report.html.wanted import wanted_pictures
from pytest_clip_robust.report.results import write_results
from pytest_clip_robust.report.summary import append_step_summary, step_summary_file, write_summary
from pytest_clip_robust.system.quiet import quiet

if TYPE_CHECKING:
    from pytest_clip_robust.config.run import RunConfig
    from pytest_clip_robust.evaluation.library import Library


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a report: a line for the terminal about each file, and whether any could not be written."""

    lines: list[str]
    failed: bool


def write_reports(config: pytest.Config, document: Document, folder: Path | None) -> Written:
    """Write every file of the report; one that cannot be written does not keep the others from being written.

    In a job of GitHub Actions, the summary is also appended to that of the step. A run does not fail for that one:
    its result is in the log and in the exit status.

    Args:
        config: of the run, which names the data sets whose images are shown.
        document: of the run.
        folder: of the files; it is created if it is missing. None writes no files.
    """
    writers: dict[str, Callable[[Document, Path], None]] = {
        "report.json": write_document,
        "index.html": partial(write_page, pictures=read_pictures(config, document) if folder else {}),
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
            written.append(os.path.relpath(path, config.invocation_params.dir))
    lines = [f"report: {', '.join(written)}"] if written else []
    return Written(lines + errors + _append_to_step(document), failed=bool(errors))


def read_pictures(config: pytest.Config, document: Document) -> Pictures:
    """Return the small pictures that the page wants; those that cannot be read are left out."""
    wanted = wanted_pictures(document["gates"])
    if not wanted:
        return {}
    run = config.stash[RUN]
    try:
        with quiet():
            from pytest_clip_robust.evaluation.thumbnails import thumbnails  # noqa: PLC0415

            found = thumbnails(wanted.items(), _library(config, run), run.profile)
    except Exception:  # noqa: BLE001 - third-party readers raise any exception, and a picture is no reason to fail
        return {}
    return {Shot(*key): Picture(*picture) for key, picture in found.items()}


def _library(config: pytest.Config, run: RunConfig) -> Library:
    """Return the data sets that this process has read; the controller of xdist has not read any yet."""
    from pytest_clip_robust.evaluation.library import Library  # noqa: PLC0415

    if SESSION in config.stash:
        return config.stash[SESSION].library
    cache = None if "://" in run.cache else Path(run.cache).expanduser().absolute() / "data"
    return Library(run.profile, cache=cache, notice=lambda _: None)


def _append_to_step(document: Document) -> list[str]:
    path = step_summary_file()
    try:
        if path is not None:
            append_step_summary(document, path)
    except ReportError as error:
        return [str(error)]
    return []
