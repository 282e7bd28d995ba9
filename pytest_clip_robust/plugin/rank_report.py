"""Report of a rank, a process that only encodes its share of the samples: it has no values, as features are missing.

Every test that measures is reported as skipped, with the reason, even if a computation fails on placeholder features.
Errors in the data, the model or the options still fail here, before hours on many machines have passed.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.summary import encoded_line
from pytest_clip_robust.errors import ClipRobustError, MeasurementError
from pytest_clip_robust.plugin.collector import Summarise, headline
from pytest_clip_robust.plugin.items import has_gate, model_spec
from pytest_clip_robust.system.rank import Rank

TO_MEASURE = "run pytest without RANK and WORLD_SIZE to measure"


class RankReport:
    """Takes the place of the Collector; prints no table and writes neither report.json nor baselines."""

    def __init__(self, run: RunConfig, rank: Rank, summarise: Summarise) -> None:
        self._run, self._rank, self._summarise = run, rank, summarise

    def pytest_report_header(self) -> list[str]:
        """Return two lines: what this run encodes, and that it judges nothing."""
        return [
            headline(self._run),
            f"clip-robust: {self._rank} encodes its share of the samples and judges nothing; {TO_MEASURE}",
        ]

    @pytest.hookimpl(wrapper=True, trylast=True)  # before others read the outcome
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report a test that measures as skipped, unless it failed before it could measure."""
        report = yield
        measures = model_spec(item) is not None or has_gate(item)
        if not measures or report.skipped or report.when == "teardown" or (report.when == "setup" and report.passed):
            return report
        if report.failed and not self._from_placeholders(call.excinfo.value if call.excinfo else None):
            return report
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {self._rank} only encodes its share; {TO_MEASURE}")
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run if features were lost: no other rank encodes them."""
        if self._summarise()["rows_lost"] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was encoded, and what is left to do."""
        summary = self._summarise()
        lines = [f"{label}: {note}" for label, model in summary["models"].items() for note in model["notes"]]
        lines += summary["notices"]
        lines.append(
            f"{self._rank} {encoded_line(summary)}, and left {summary['left_to_others']:,} samples to the other ranks; "
            f"nothing was measured: {TO_MEASURE}"
        )
        if summary["rows_lost"]:
            lines.append(f"{summary['rows_lost']:,} features could not be stored and are lost; run this rank again")
        terminalreporter.section("clip robustness")
        for line in lines:
            terminalreporter.write_line(line)

    def _from_placeholders(self, error: BaseException | None) -> bool:
        """Return whether placeholder features can have caused `error`; they never cause errors in what was read."""
        from_inputs = isinstance(error, ClipRobustError) and not isinstance(error, MeasurementError)
        return not from_inputs and self._summarise()["left_to_others"] > 0
