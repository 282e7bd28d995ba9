"""The page of a panel as data: everything that the template of panel.html writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_clip_robust.core.finding import FindingResult
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import StudyResults
from pytest_clip_robust.report.html.panel import Panel
from pytest_clip_robust.report.html.study.figures import factor_panels, property_panels
from pytest_clip_robust.report.html.study.findings import FindingTable, finding_table
from pytest_clip_robust.report.html.study.headlines import headline_means
from pytest_clip_robust.report.html.study.models import LegendEntry, PanelModel, legend_of, panel_models
from pytest_clip_robust.report.html.study.tables import Grid, model_grid, residual_grid, share_grid

MOST_ERRORS = 100
"""Tests without a measurement that the page names; it counts the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """The content of panel.html. families: their number. errors: (model, test) pairs that measured nothing.

    more_errors: how many further ones there are. warnings: (factor, why its shares mean little) pairs.
    """

    models: list[PanelModel]
    families: int
    findings: FindingTable
    complete: bool
    colours: list[LegendEntry]
    shapes: list[LegendEntry]
    figures: list[Panel]
    factors: list[Panel]
    residuals: Grid | None
    no_residuals: str
    shares: Grid | None
    no_shares: str
    warnings: list[tuple[str, str]]
    values: Grid
    errors: list[tuple[str, str]]
    more_errors: int


def build_study_page(
    table: PanelTable, findings: Sequence[FindingResult], study: StudyResults, *, complete: bool = True
) -> StudyPage:
    """Return the page of a panel.

    Args:
        table: all results of its models.
        findings: those that were asked for.
        study: residuals, shares and published lines.
        complete: whether the run ended by itself; otherwise the page says that models are missing.
    """
    models = panel_models(table.models, {one.model for one in study.residuals if one.reference})
    colours, shapes = legend_of(models)
    errors = [(row.factors.model, row.test) for row in table if row.value is None]
    return StudyPage(
        models=list(models.values()),
        families=len({one.group for one in table.models.values()}),
        findings=finding_table(findings),
        complete=complete,
        colours=colours,
        shapes=shapes,
        figures=property_panels(table, models, study.published),
        factors=factor_panels(study.residuals, models),
        residuals=residual_grid(study.residuals, models),
        no_residuals=study.no_residuals,
        shares=share_grid(study.shares),
        no_shares=study.no_shares,
        warnings=sorted(study.warnings.items()),
        values=model_grid(models, headline_means(table)),
        errors=errors[:MOST_ERRORS],
        more_errors=max(len(errors) - MOST_ERRORS, 0),
    )
