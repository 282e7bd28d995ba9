"""Results of a run's tests, in the process that owns the terminal, and the decision on all gates at the end.

Under xdist, records arrive with each test's report, so that a worker that dies later loses nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.gates import decide
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.plugin.held_reports import HELD, HELD_LATER, HeldReports

Status = tuple[str, str, str | tuple[str, dict[str, bool]]]
"""The category, letter and word of a test's outcome, the word with its markup."""


@dataclass(slots=True)
class _Reported:
    """The report of the last attempt of a test: records, packed baselines to record, whether a gate was skipped.

    failed: whether the test failed, for any reason. not_applicable: why it does not apply to the model, or ``""``.
    """

    records: list[Record] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    skipped: bool = False
    failed: bool = False
    not_applicable: str = ""

    def note_outcome(self, report: pytest.TestReport) -> None:
        """Note whether a phase of the test failed; a gate that a marker expects to fail forbids nothing."""
        self.failed |= report.failed
        if report.skipped and hasattr(report, "wasxfail"):
            for record in self.records:
                record["failed"] = False


class Results:
    """Part of the controller, or of the only process of a run without xdist."""

    def __init__(self, config: pytest.Config, run: RunConfig) -> None:
        self._config = config
        self._run = run
        self._reports: dict[str, _Reported] = defaultdict(_Reported)
        self._held = HeldReports()
        self._decided = False

    @property
    def records(self) -> list[Record]:
        """The records of all gates, in the order in which their tests ended."""
        return [record for reported in self._reports.values() for record in reported.records]

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The packed baselines to record."""
        return [update for reported in self._reports.values() for update in reported.updates]

    @property
    def skipped(self) -> int:
        """The number of tests with a gate that were skipped."""
        return sum(reported.skipped for reported in self._reports.values())

    @property
    def not_applicable(self) -> dict[str, int]:
        """The numbers of tests that do not apply to a model, by reason; a reason names the model."""
        return dict(Counter(one.not_applicable for one in self._reports.values() if one.not_applicable))

    @property
    def failed_without_gate(self) -> int:
        """The number of tests that failed for another reason than a gate."""
        return sum(
            reported.failed and not any(record["failed"] for record in reported.records)
            for reported in self._reports.values()
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the records, and the baselines to record, from a test's report; only its last attempt counts.

        The report of a test that the other gates decide on is held back.
        """
        if self._decided:
            return
        if report.when == "setup":
            self._reports.pop(report.nodeid, None)
            self._held.forget(report.nodeid)
        reported = self._reports[report.nodeid]
        reported.records += getattr(report, "clip_records", [])
        reported.updates += getattr(report, "clip_updates", [])
        reported.skipped |= getattr(report, "clip_skipped", False)
        reported.not_applicable = getattr(report, "clip_not_applicable", reported.not_applicable)
        self._held.take(report, reported.records)
        reported.note_outcome(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Status | None:
        """Show a test that is decided at the end of the run as ``?``."""
        if report.when == HELD_LATER:
            return "", "", ""
        if report.when != HELD:
            return None
        return "", "?", ("DECIDED AT THE END", {"yellow": True})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Decide on all gates when every test has run, or when the run ends early."""
        try:
            return (yield)
        finally:
            self._decide()

    def _decide(self) -> None:
        """Set the final verdict of every record, and report the tests that were held back."""
        self._decided = True
        if self._run.correction != "bonferroni":
            judged = decide(
                self.records,
                alpha=self._run.alpha,
                headline_share=self._run.profile.gates.headline_share,
                strict=self._run.strict,
            )
            final = iter(judged)
            for reported in self._reports.values():
                reported.records = [next(final) for _ in reported.records]
        if len(self._held):
            write_below(self._config, "decided by the p-values of all gates:", end=" ")
        for nodeid in self._held.tests():
            reported = self._reports[nodeid]
            for report in self._held.release(nodeid, reported.records):
                reported.note_outcome(report)
                self._config.hook.pytest_runtest_logreport(report=report)


def write_below(config: pytest.Config, line: str, end: str = "\n") -> None:
    """Write a line below the progress of the last test."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write(f"\n{line}{end}")
