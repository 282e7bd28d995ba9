"""All findings, and their evaluation on the table of a panel."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_clip_robust.core.finding import FindingResult, Status
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.findings import factor_lines, large_models, ranks, scaling, shape, templates, towers
from pytest_clip_robust.properties.findings.result import Finding

FINDINGS = {
    one.name: one
    for module in (shape, ranks, scaling, towers, templates, large_models, factor_lines)
    for one in module.FINDINGS
}
"""Every finding by name, in the order of the study."""


def evaluate_findings(table: PanelTable, names: Iterable[str] = tuple(FINDINGS)) -> list[FindingResult]:
    """Return the result of each finding on a panel; one that lacks models or measurements is not tested, and says why.

    >>> evaluate_findings(PanelTable(rows=()), ["fewer_templates_help_calibration"])[0].why
    'needs prompts.fewer_templates_ece_15_equal_width, and the run measured it on no model'
    """
    return [_evaluate(table, FINDINGS[name]) for name in names]


def not_tested(names: Iterable[str], why: str) -> list[FindingResult]:
    """Return the results of findings that could not be tested, with the reason."""
    return [_without_answer(FINDINGS[name], why) for name in names]


def _evaluate(table: PanelTable, finding: Finding) -> FindingResult:
    try:
        answer = finding.test(table)
    except MeasurementError as error:
        return _without_answer(finding, str(error))
    return FindingResult(
        name=finding.name, claim=finding.claim, status=answer.status, why=answer.sentence, answer=answer
    )


def _without_answer(finding: Finding, why: str) -> FindingResult:
    return FindingResult(name=finding.name, claim=finding.claim, status=Status.NOT_TESTED, why=why, answer=None)
