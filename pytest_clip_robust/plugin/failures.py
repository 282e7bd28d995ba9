"""Failures of a run, of gates and of everything else, as annotations for GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.plugin.finding_reports import finding_of
from pytest_clip_robust.report.annotations import LONGEST, FailedTest, error_commands
from pytest_clip_robust.system.text import one_line


def failure_commands(records: Sequence[Record], terminalreporter: pytest.TerminalReporter) -> list[str]:
    """Return the workflow commands for all that failed: gates, findings, other tests, and files that hold tests."""
    judged = {record["test"] for record in records if record["failed"]}
    reports = [report for kind in ("error", "failed") for report in terminalreporter.stats.get(kind, [])]
    others = [report for report in reports if report.nodeid not in judged]
    findings = {report.nodeid: finding for report in others if (finding := finding_of(report))}
    return error_commands(
        records,
        tests=[FailedTest(one.nodeid, _reason(one)) for one in others if one.nodeid not in findings],
        findings=[FailedTest(findings[one.nodeid], _reason(one)) for one in others if one.nodeid in findings],
    )


def _reason(report: Any) -> str:
    """Return why a report failed, on one line: the message of its exception, or else its text."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if crash is None else crash.message
    # The report of a file that cannot be imported is text, with its exception on lines that begin with E.
    marked = [line[1:] for line in text.splitlines() if line.startswith("E  ")]
    return one_line("\n".join(marked) or text, longest=LONGEST)
