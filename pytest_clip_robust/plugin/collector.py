"""Gathers every record of a run in the process that owns the terminal, prints the table and writes report.json.

Under xdist the records arrive with each test's report, so that a worker that dies later loses nothing; what a worker
knows of its models, sets and encodes comes with its farewell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import build_document, write_document
from pytest_clip_robust.report.recorder import Recorder
from pytest_clip_robust.report.terminal import render_aspects, render_table, unused_thresholds

FAREWELL = "clip_robust_summary"

Summarise = Callable[[], RunSummary]
"""Says what this process has loaded and encoded so far."""


class WorkerSide:
    """An xdist worker's half: says at the end what it loaded and encoded."""

    def __init__(self, config: pytest.Config, summarise: Summarise) -> None:
        self._config = config
        self._summarise = summarise

    def pytest_sessionfinish(self) -> None:
        """Send the worker's summary to the controller."""
        self._config.workeroutput[FAREWELL] = self._summarise()  # type: ignore[attr-defined]


class Collector:
    """The controller's half, or all of it where there are no workers."""

    def __init__(self, config: pytest.Config, run: RunConfig, summarise: Summarise) -> None:
        self._config = config
        self._run = run
        self._summarise = summarise
        self._records: list[Record] = []
        self._summaries: list[RunSummary] = []
        # A test file, or a test, on the command line is a part, like a selection with -k.
        self._whole_run = not any(".py" in str(argument) for argument in config.args)
        self._report_line = ""
        self._recorder = Recorder()
        self._recorded: list[str] = []

    def pytest_report_header(self) -> str:
        """Say in one line what this run measures, and how."""
        return headline(self._run)

    def pytest_deselected(self) -> None:
        """Remember that only a part was asked for."""
        self._whole_run = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the records and the baselines to be off a test's report."""
        self._recorder.take(getattr(report, "clip_updates", []))
        self._records += [{**record, "test": report.nodeid} for record in getattr(report, "clip_records", [])]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's summary, if it lived to send one."""
        summary = getattr(node, "workeroutput", {}).get(FAREWELL)
        if summary is not None:
            self._summaries.append(summary)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write baselines and report.json where they were asked for; one that cannot be written fails the run."""
        self._recorded = self._recorder.write(seen_from=self._config.invocation_params.dir)
        if self._recorder.failed:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self._run.report is None:
            return
        document = build_document(self._run, self._records, self._summary(), exitstatus=int(exitstatus))
        path = self._run.report / "report.json"
        try:
            write_document(document, path)
        except ConfigError as error:
            self._report_line = str(error)
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        else:
            self._report_line = f"report: {os.path.relpath(path, self._config.invocation_params.dir)}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, worst first, if anything was judged."""
        if self._records:
            terminalreporter.section("clip robustness")
            # pytest takes 80 columns where it finds no terminal; a CI log is as wide as its lines.
            width = terminalreporter._tw.fullwidth if terminalreporter.isatty or "COLUMNS" in os.environ else 0  # noqa: SLF001
            colour = terminalreporter._tw.hasmarkup  # noqa: SLF001
            every = terminalreporter.verbosity > 0
            terminalreporter.write(render_table(self._records, width=width, colour=colour, every=every))
            aspects = render_aspects(self._records, width=width, colour=colour)
            if aspects:
                terminalreporter.write(f"\n{aspects}\n")
            for line in self._closing_lines():
                terminalreporter.write_line(line)
        for line in self._recorded:
            terminalreporter.write_line(line)
        if self._report_line:
            terminalreporter.write_line(self._report_line)

    def _closing_lines(self) -> list[str]:
        summary = self._summary()
        lines = [f"{label}: {note}" for label, model in summary["models"].items() for note in model["notes"]]
        lines += summary["notices"]
        lines.append(
            f"encoded {summary['images_encoded']:,} images and {summary['texts_encoded']:,} texts; "
            "everything else came from the store"
        )
        lines += uncompared(self._run, self._records)
        if self._whole_run:
            lines += unused_thresholds(self._run.profile.thresholds, self._records)
        return lines

    def _summary(self) -> RunSummary:
        return merge_summaries([*self._summaries, self._summarise()])


def headline(run: RunConfig) -> str:
    """Name models, what they are compared with, profile, device and cache in one line."""
    models = ", ".join(spec.label for spec in run.models)
    against = "" if run.reference is None else f" against {run.reference.label}"
    return (
        f"clip-robust: {models}{against} | profile {run.profile.name} | {run.device} {run.precision} | "
        f"cache {_short(run.cache)}"
    )


def uncompared(run: RunConfig, records: Sequence[Record]) -> list[str]:
    """Say which models have no baseline yet, and for how many of their gates."""
    if run.reference is not None:
        return []
    lines = []
    for label in dict.fromkeys(record["model"] for record in records):
        own = [record for record in records if record["model"] == label and record["verdict"] != Verdict.ERROR]
        new = sum(not record["known"] for record in own)
        if new:
            gates = "any gate" if new == len(own) else f"{new} of {len(own)} gates"
            lines.append(f"no baseline yet for {gates} of {label or 'the tests'}: record one with --snapshot-update")
    return lines


def _short(cache: str) -> str:
    home = str(Path.home())
    return cache.replace(home, "~", 1) if cache.startswith(home) else cache
