"""Rendering of panel.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_clip_robust.core.finding import FindingResult
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import StudyResults
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.html.render import render_template
from pytest_clip_robust.report.html.study.page import build_study_page
from pytest_clip_robust.report.html.study.scatter import OUTLINES
from pytest_clip_robust.system.files import write_whole

PANEL_PAGE = "panel.html"


def render_panel_page(
    table: PanelTable, findings: Sequence[FindingResult], study: StudyResults, *, complete: bool = True
) -> str:
    """Return panel.html: one file that loads nothing from elsewhere. The arguments are those of `build_study_page`."""
    return render_template(
        "panel.html.j2",
        styles=("page.css", "panel.css"),
        scripts=("theme.js", "panel.js"),
        page=build_study_page(table, findings, study, complete=complete),
        outlines=OUTLINES,
    )


def write_panel_page(
    table: PanelTable, findings: Sequence[FindingResult], study: StudyResults, folder: Path, *, complete: bool = True
) -> Path:
    """Write panel.html whole or not at all, and return its path.

    Raises:
        ReportError: the folder cannot be written.
    """
    path = folder / PANEL_PAGE
    try:
        write_whole(path, render_panel_page(table, findings, study, complete=complete).encode())
    except OSError as error:
        raise ReportError(f"{folder}: cannot write {PANEL_PAGE}: {error}") from error
    return path
