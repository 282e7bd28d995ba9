"""Panel of a run with ``--clip-panel``: the table of all models, and the findings on it.

It is made in the process that owns the terminal. Under xdist, what each sample contributed to the measurements that
findings compare in pairs arrives with the reports of the tests, and the cards of the models when a worker ends.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_clip_robust.config.panel import ModelPanel
from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.finding import FindingResult, finding_record
from pytest_clip_robust.core.panel_table import ModelFactors, PanelTable, StoredColumns
from pytest_clip_robust.core.study_results import StudyResults
from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.gates.baseline_files import unpack_columns
from pytest_clip_robust.models.card.factors import factors_from
from pytest_clip_robust.models.card.facts import ModelCard, overridden
from pytest_clip_robust.plugin.collector import SUMMARY, Summarise
from pytest_clip_robust.plugin.finding_reports import finding_of, with_result
from pytest_clip_robust.plugin.held_reports import HeldReports
from pytest_clip_robust.plugin.results import Results, write_below
from pytest_clip_robust.plugin.study_files import study_of, write_study
from pytest_clip_robust.plugin.terminal_width import table_width
from pytest_clip_robust.properties.findings.registry import FINDINGS, evaluate_findings, not_tested
from pytest_clip_robust.report.html.study.render import write_panel_page
from pytest_clip_robust.report.panel_files import table_from, write_table
from pytest_clip_robust.report.study import render_findings, write_findings

PACKED_OUTCOMES = "clip_outcomes"
"""The attribute of a test's report that holds (measurement's key, packed columns) pairs."""

BROKEN_OFF = "the run ended before all models were measured; run it again"


class PanelStudy:
    """Part of the controller, or of the only process of a run without xdist."""

    def __init__(
        self, config: pytest.Config, run: RunConfig, panel: ModelPanel, results: Results, summarise: Summarise
    ) -> None:
        self._config = config
        self._run = run
        self._panel = panel
        self._results = results
        self._summarise = summarise
        self._summaries: list[RunSummary] = []
        self._outcomes: dict[str, dict[str, StoredColumns]] = defaultdict(dict)
        self._held = HeldReports()
        self._closed = self._complete = False
        self._table: PanelTable | None = None
        self._findings: list[FindingResult] = []
        self._lines: list[str] = []

    @property
    def folder(self) -> Path:
        """The folder of the run's files: that of ``--clip-report``, or ``<panel>-results`` in the working directory."""
        return self._run.report or self._config.invocation_params.dir / f"{self._panel.path.stem}-results"

    @property
    def findings(self) -> Sequence[FindingResult]:
        """The results of the findings that were asked for; empty until every test has run."""
        return self._findings

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's summary, unless the worker died before it could send one."""
        summary = getattr(node, "workeroutput", {}).get(SUMMARY)
        if summary is not None:
            self._summaries.append(summary)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take per-sample outcomes from a test's last attempt, and hold back the reports of findings."""
        if self._closed:
            return
        if report.when == "setup":
            self._outcomes.pop(report.nodeid, None)
            self._held.forget(report.nodeid)
        for key, packed in getattr(report, PACKED_OUTCOMES, ()):
            self._outcomes[report.nodeid][key] = unpack_columns(packed)
        self._held.hold(report, begins=report.when == "call" and report.passed and bool(finding_of(report)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Evaluate the findings when every test has run, and report their tests; they are skipped if the run broke off.

        This plugin is registered after `Results`, so its wrapper is the outer one, and all verdicts are final.
        """
        try:
            result = yield
        except BaseException:
            self._close(complete=False)
            raise
        self._close(complete=True)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files of the panel; the run fails if there is no table, or if they cannot be written."""
        if not self._closed or (self._table is not None and not self._table.rows):
            return  # nothing was measured, as with --collect-only: files of an earlier run stay
        if self._table is None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        try:
            path = write_table(self._table, self.folder)
            if self._findings:
                write_findings(self._findings, self.folder)
            study = StudyResults()
            if self._complete:
                study = study_of(self._table, self._results.records)
                self._lines += write_study(study, self.folder)
            page = write_panel_page(self._table, self._findings, study, self.folder, complete=self._complete)
        except ClipRobustError as error:
            self._lines.append(str(error))
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        else:
            note = "" if self._complete else " (incomplete: the run ended before all models were measured)"
            for name, written in (("panel", path), ("panel page", page)):
                self._lines.append(f"{name}: {os.path.relpath(written, self._config.invocation_params.dir)}{note}")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the findings, and where the files are."""
        if self._findings:
            terminalreporter.section("findings on the panel")
            width = table_width(terminalreporter._tw, isatty=bool(terminalreporter.isatty))  # noqa: SLF001
            colour = terminalreporter._tw.hasmarkup  # noqa: SLF001
            terminalreporter.write(render_findings([*map(finding_record, self._findings)], width=width, colour=colour))
        for line in self._lines:
            terminalreporter.write_line(line)

    def _close(self, *, complete: bool) -> None:
        """Make the table, evaluate the findings that were asked for, and report their tests."""
        self._closed, self._complete = True, complete
        outcomes = {(test, key): columns for test, found in self._outcomes.items() for key, columns in found.items()}
        obstacle = "" if complete else BROKEN_OFF
        try:
            self._table = table_from(self._results.records, self._factors(), outcomes)
        except ClipRobustError as error:
            obstacle = f"the panel has no table: {error}"
            self._lines.append(obstacle)
        held = [self._held.withdraw(nodeid) for nodeid in self._held.tests()]
        asked = {finding_of(reports[0]) for reports in held}
        names = [name for name in FINDINGS if name in asked]  # workers report in any order
        if obstacle or self._table is None:
            self._findings = not_tested(names, obstacle)
        else:
            self._findings = evaluate_findings(self._table, names)
        by_name = {one.name: one for one in self._findings}
        if held:
            write_below(self._config, f"decided by the panel of {len(self._run.models)} models:", end=" ")
        for reports in held:
            for report in with_result(reports, by_name[finding_of(reports[0])], fails=self._run.findings == "fail"):
                self._config.hook.pytest_runtest_logreport(report=report)

    def _factors(self) -> dict[str, ModelFactors]:
        """Return the factors of every model of the run, by label; those of a model that did not load are unknown."""
        loaded = merge_summaries([*self._summaries, self._summarise()])["models"]
        found = {}
        for spec in self._run.models:
            about, entry = loaded.get(spec.label, {}), self._panel.about(spec.label)
            card = ModelCard(**about["card"]) if about else ModelCard()
            prompts = about.get("prompts")
            found[spec.label] = factors_from(
                overridden(card, entry.facts) if entry else card,
                model=spec.label,
                group=entry.group if entry else "",
                parent=entry.parent.label if entry and entry.parent else "",
                reference=bool(entry and entry.reference),
                prompts=prompts["name"] if prompts else None,
            )
        return found
