"""Reports of tests that are decided at the end of the run: held back, and reported once, as passed or failed.

pytest has one report per phase of a test, and no hook to withhold one. So a report that must wait is copied, and the
original gets a phase of its own, which pytest and its plugins ignore: no test is counted, or written to JUnit's
file, before its outcome is known, and none is counted twice. The terminal shows ``?`` in the meantime.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest

from pytest_clip_robust.gates.families import is_undecided
from pytest_clip_robust.gates.record import Record, junit_properties

STRICT_MARKER = "[XPASS(strict)]"
"""How pytest begins the failure of a test that a strict marker expects to fail, and that passed."""

HELD, HELD_LATER = "undecided", "undecided, later"
"""The phases (`when`) of the reports that others see in place of those that are held back: of the call, and later."""


class HeldReports:
    """Reports that wait, by node id: that of a test's call, and those of its later phases."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[pytest.TestReport]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def forget(self, nodeid: str) -> None:
        """Drop what waits for a test that is run again."""
        self._waiting.pop(nodeid, None)

    def take(self, report: pytest.TestReport, records: Sequence[Record]) -> None:
        """Hold `report` back if one of its test's `records` is undecided and nothing else has failed the test."""
        judged = report.when == "call" and (report.passed or str(report.longrepr).startswith(STRICT_MARKER))
        self.hold(report, begins=judged and any(map(is_undecided, records)))

    def hold(self, report: pytest.TestReport, *, begins: bool) -> None:
        """Hold `report` back if its test waits, or `begins` to wait with it."""
        if report.nodeid in self._waiting or begins:
            waiting = self._waiting.setdefault(report.nodeid, [])
            waiting.append(copy.copy(report))
            report.when = HELD if len(waiting) == 1 else HELD_LATER  # type: ignore[assignment]
            report.outcome, report.duration = "passed", 0.0
            report.sections, report.user_properties = [], []

    def release(self, nodeid: str, records: Sequence[Record]) -> list[pytest.TestReport]:
        """Return the reports that waited for a test, in order, with the outcome that its decided `records` give it."""
        reports = self.withdraw(nodeid)
        for report in reports:
            others = [one for one in report.user_properties if not one[0].startswith("clip_")]
            report.user_properties = others + [one for record in records for one in junit_properties(record)]
        failed = [record["message"] for record in records if record["failed"]]
        if reports and failed:
            _fail(reports[0], "\n\n".join(failed))
        return reports

    def withdraw(self, nodeid: str) -> list[pytest.TestReport]:
        """Return the reports that waited for a test, in order, as they came."""
        return self._waiting.pop(nodeid, [])

    def tests(self) -> list[str]:
        """Return the node ids of the tests that wait, in the order in which they ran."""
        return list(self._waiting)


def _fail(report: pytest.TestReport, message: str) -> None:
    """Turn the report of a test's call into that of a failure, or of an expected failure."""
    expected = getattr(report, "clip_xfail", None)
    report.longrepr = message
    report.outcome = "failed" if expected is None else "skipped"
    if expected is not None:
        report.wasxfail = expected
    elif hasattr(report, "wasxfail"):
        del report.wasxfail
