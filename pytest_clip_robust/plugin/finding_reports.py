"""Reports of the tests of findings: their outcome is that of the finding on the whole panel."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_clip_robust.core.finding import FindingResult, Status
from pytest_clip_robust.plugin.keys import FINDING


def finding_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the name of the finding that decides a test, or ``""``."""
    return str(dict(getattr(report, "user_properties", ())).get(FINDING, ""))


def with_result(
    reports: Sequence[pytest.TestReport], result: FindingResult, *, fails: bool
) -> Sequence[pytest.TestReport]:
    """Return the reports of a test, that of the call first, with the outcome of its finding.

    A finding that holds passes. One that does not hold fails if it `fails`, and is an expected failure otherwise. One
    that is not decided or not tested is skipped with the reason, and never passes.
    """
    call = reports[0]
    for report in reports:
        report.user_properties = [*report.user_properties, *_properties(result)]
    if result.status is Status.DOES_NOT_HOLD:
        call.outcome = "failed" if fails else "skipped"
        call.longrepr = f"{result.claim}\n{result.why}"
        if not fails:
            call.wasxfail = result.why
    elif result.status is not Status.HOLDS:
        call.outcome = "skipped"
        path, line, _ = call.location
        reason = result.why if result.answer else f"{result.status}: {result.why}"
        call.longrepr = (path, (line or 0) + 1, f"Skipped: {reason}")
    return reports


def _properties(result: FindingResult) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [("clip_finding_status", str(result.status)), ("clip_finding_why", result.why)]
    if result.answer is not None:
        effect = result.answer.effect
        found += [(f"clip_finding_{name}", getattr(effect, name)) for name in ("value", "low", "high")]
    return found
