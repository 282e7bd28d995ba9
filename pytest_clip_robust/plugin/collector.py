"""Collector of a run's results, in the process that owns the terminal; prints the tables and writes reports.

Under xdist, a worker sends its summary of models, data and encoded samples when it ends.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.config.shipped import shipped_suites
from pytest_clip_robust.core.finding import FindingResult
from pytest_clip_robust.core.summary import RunSummary, changed_models, encoded_line, merge_summaries
from pytest_clip_robust.gates import Conclusion, Verdict, conclude
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.models.card.sentence import card_lines
from pytest_clip_robust.plugin.baseline_folders import baseline_folder, how_to_compare
from pytest_clip_robust.plugin.failures import failure_commands
from pytest_clip_robust.plugin.item_hooks import NOT_FOR_MODEL
from pytest_clip_robust.plugin.parametrize import NO_SET
from pytest_clip_robust.plugin.results import Results, write_below
from pytest_clip_robust.plugin.terminal_width import table_width
from pytest_clip_robust.report.annotations import in_github_job
from pytest_clip_robust.report.document import Document, build_document
from pytest_clip_robust.report.recorder import Recorder
from pytest_clip_robust.report.series import headline_records, render_series
from pytest_clip_robust.report.summary import step_summary_file
from pytest_clip_robust.report.terminal import HEADLINES, level_line, render_aspects, render_gates, unmatched_keys
from pytest_clip_robust.system.text import printable

SUMMARY = "clip_robust_summary"
DESELECTED = "clip_robust_deselected"

Summarise = Callable[[], RunSummary]
"""Returns what this process has loaded and encoded so far."""


class WorkerSide:
    """Part of an xdist worker: sends the worker's summary at the end, and whether it left out tests."""

    def __init__(self, config: pytest.Config, summarise: Summarise) -> None:
        self._config = config
        self._summarise = summarise
        self._deselected = False

    def pytest_deselected(self) -> None:
        """Remember that only a part of the tests runs; the controller collects no tests."""
        self._deselected = True

    def pytest_sessionfinish(self) -> None:
        """Send the worker's summary to the controller."""
        output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
        output[SUMMARY], output[DESELECTED] = self._summarise(), self._deselected


class Collector:
    """Part of the controller, or of the only process of a run without xdist."""

    def __init__(
        self,
        config: pytest.Config,
        run: RunConfig,
        results: Results,
        summarise: Summarise,
        *,
        findings: Callable[[], Sequence[FindingResult]] = tuple,
    ) -> None:
        self._config = config
        self._run = run
        self._results = results
        self._summarise = summarise
        self._findings = findings
        self._summaries: list[RunSummary] = []
        # A test file or a test on the command line selects a part of the run, like -k.
        self._of_files = any(".py" in str(argument) for argument in config.args)
        self._deselected = bool(config.getoption("lf", default=False))
        self._report_lines: list[str] = []
        self._recorder = Recorder()
        self._recorded: list[str] = []

    def pytest_report_header(self) -> str:
        """Return one line about what this run measures, and how."""
        return headline(self._run)

    def pytest_deselected(self) -> None:
        """Remember that only a part of the tests runs."""
        self._deselected = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's summary, unless the worker died before it could send one."""
        output = getattr(node, "workeroutput", {})
        self._deselected |= output.get(DESELECTED, False)
        summary = output.get(SUMMARY)
        if summary is not None:
            self._summaries.append(summary)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write baselines and reports if asked to.

        The run fails if one of them cannot be written, or if a model changed while it ran.
        """
        if self._run.strict and session.exitstatus == pytest.ExitCode.OK and (self._unmatched() or self._not_judged()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        updates = self._results.updates
        if self._changed_models():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._recorded = ["no baseline was recorded"] if updates else []
        else:
            self._recorder.take(updates)
            self._recorded = self._recorder.write(
                seen_from=self._config.invocation_params.dir, notice=partial(write_below, self._config)
            )
        if self._recorder.failed:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self._run.report is not None or (self._records and step_summary_file()):
            from pytest_clip_robust.plugin.reports import write_reports  # noqa: PLC0415 - needs jinja2

            written = write_reports(self._config, self._document(int(session.exitstatus)), self._run.report)
            self._report_lines = written.lines
            if written.failed:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Print the tables and the conclusion, if anything was judged."""
        fold_skips(terminalreporter.stats.get("skipped", []))
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._whole_run:
            terminalreporter.write_line(how_to_run_suites(self._config.invocation_params.args))
        if self._records:
            self._write_tables(terminalreporter, exitstatus)
        elif not_judged := self._not_judged():
            terminalreporter.section("clip robustness")
            terminalreporter.write_line(*not_judged)
        for line in self._changed_models():
            terminalreporter.write_line(line, red=True)
        for line in self._recorded:
            terminalreporter.write_line(line)
        for line in self._report_lines:
            terminalreporter.write_line(line)
        for line in failure_commands(self._records, terminalreporter) if in_github_job() else ():
            terminalreporter.write_line(line)

    def _write_tables(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Write the models, the gates, what else is to be said, and the conclusion on each model."""
        terminalreporter.section("clip robustness")
        width = table_width(terminalreporter._tw, isatty=bool(terminalreporter.isatty))  # noqa: SLF001
        colour = terminalreporter._tw.hasmarkup  # noqa: SLF001
        every = terminalreporter.verbosity > 0
        conclusions = self._conclusions(exitstatus)
        for line in card_lines(self._summary()["models"], width=width):
            terminalreporter.write_line(printable(line))
        terminalreporter.write(render_gates(self._records, width=width, colour=colour, every=every))
        terminalreporter.write(render_aspects(self._records, conclusions, width=width, colour=colour))
        gates = self._run.profile.gates
        terminalreporter.write_line(
            level_line(
                self._records,
                alpha=self._run.alpha,
                correction=self._run.correction,
                headline_share=gates.headline_share,
            )
        )
        for line in self._closing_lines():
            terminalreporter.write_line(printable(line))
        for series in self._run.series:
            labels = [spec.label for spec in series]
            measured = {place: headline_records(self._records, label) for place, label in enumerate(labels)}
            terminalreporter.write(render_series(labels, measured, width=width, colour=colour))
        for one in conclusions:
            bad = one["verdict"] == "not ready"
            sentence = printable(_with_model(one, among=conclusions))
            terminalreporter.write_line(sentence, bold=True, red=bad, green=not bad)

    def _document(self, exit_status: int) -> Document:
        return build_document(
            self._records,
            self._summary(),
            profile=self._run.profile.name,
            precision=self._run.precision,
            alpha=self._run.alpha,
            correction=self._run.correction,
            headline_share=self._run.profile.gates.headline_share,
            conclusions=self._conclusions(exit_status),
            reference="" if self._run.reference is None else self._run.reference.label,
            exit_status=exit_status,
            not_applicable=self._results.not_applicable,
            findings=self._findings(),
        )

    def _conclusions(self, exit_status: int) -> list[Conclusion]:
        """Return the conclusion of each model; `exit_status` is that of the run."""
        others = self._results.failed_without_gate
        obstacle = ""
        if exit_status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}:
            obstacle = "the run did not end as it should; the lines above say why"
        elif others:
            obstacle = f"{others} other test{'' if others == 1 else 's'} failed"
        elif self._run.strict and self._unmatched():
            obstacle = "the profile names gates that do not exist, and --clip-strict fails that"
        elif self._changed_models():
            obstacle = "a model changed during the run"
        return conclude(self._records, obstacle=obstacle, selected=not self._whole_run)

    def _closing_lines(self) -> list[str]:
        summary = self._summary()
        lines = [f"{label}: {note}" for label, model in summary["models"].items() for note in model["notes"]]
        lines += summary["notices"]
        lines += [
            f"not applicable ({count} test{'' if count == 1 else 's'}): {reason}"
            for reason, count in self._results.not_applicable.items()
        ]
        lines.append(f"{encoded_line(summary)}; everything else came from the feature store")
        lines += uncompared(self._run, self._records, seen_from=self._config.invocation_params.dir)
        return [*lines, *self._unmatched(), *self._not_judged()]

    @property
    def _whole_run(self) -> bool:
        return not (self._of_files or self._deselected)

    @property
    def _records(self) -> list[Record]:
        return self._results.records

    def _not_judged(self) -> list[str]:
        """Return a line if every test with a gate was skipped, or one about each model without a gate that was judged.

        Where tests were deselected, such as by a model's name, a model without tests was not meant.
        """
        skipped = self._results.skipped
        if not self._records:
            counted = f"{skipped} {'was' if skipped == 1 else 'were'} skipped (-rs shows why)"
            return [f"no gate was judged; {counted}"] if skipped else []
        judged = {record["model"] for record in self._records}
        return [
            f"{spec.label}: no gate judged it, as no test that ran is about such a model (-rs shows skipped ones)"
            for spec in self._run.models
            if spec.label not in judged and not self._deselected
        ]

    def _unmatched(self) -> list[str]:
        """Return lines about keys of the profile that match no measurement.

        A part of a run does not show that, nor does a run in which a test failed before it measured anything.
        """
        profile = self._run.profile
        if not self._whole_run or any("metric" not in record for record in self._records):
            return []
        return [
            *unmatched_keys("thresholds", profile.thresholds, self._records),
            *unmatched_keys("tolerances", profile.tolerances, self._records),
            *unmatched_keys(HEADLINES, profile.gates.headline or (), self._records),
        ]

    def _changed_models(self) -> list[str]:
        """Return a line about each model that two processes loaded with different weights."""
        return changed_models(summary["models"] for summary in self._all_summaries())

    def _summary(self) -> RunSummary:
        return merge_summaries(self._all_summaries())

    def _all_summaries(self) -> list[RunSummary]:
        return [*self._summaries, self._summarise()]


def how_to_run_suites(arguments: Sequence[str | os.PathLike[str]]) -> str:
    """Return one line for a run that found no tests: its command, with the suites that ship with the package."""
    command = shlex.join(["pytest", *shipped_suites(), *map(str, arguments)])
    return f"no tests are here. To run the suites that come with pytest-clip-robust: {command}"


def fold_skips(reports: Sequence[Any]) -> None:
    """Set the place of skips that concern the whole run to the folder of tests, so that -rs shows each reason once."""
    for report in reports:
        place = report.longrepr
        if isinstance(place, tuple) and place[2].removeprefix("Skipped: ").startswith((NO_SET, NOT_FOR_MODEL)):
            report.longrepr = (str(Path(place[0]).parent), None, place[2])


def _with_model(conclusion: Conclusion, *, among: Sequence[Conclusion]) -> str:
    """Return the sentence of a conclusion, with the model's name if there are several."""
    return conclusion["sentence"] if len(among) == 1 else f"{conclusion['model']}: {conclusion['sentence']}"


def headline(run: RunConfig) -> str:
    """Return one line that names the models, the reference, the profile, the device and the cache."""
    models = ", ".join(spec.label for spec in run.models)
    against = "" if run.reference is None else f" against {run.reference.label}"
    return (
        f"clip-robust: {models}{against} | profile {run.profile.name} | {run.device} {run.precision} | "
        f"cache {_short(run.cache)}"
    )


def uncompared(run: RunConfig, records: Sequence[Record], *, seen_from: Path) -> list[str]:
    """Return one line about each model that has gates without a baseline: how many, and what to do about it."""
    if run.reference is not None:
        return []
    specs = {spec.label: spec for spec in run.models}
    lines = []
    for label in dict.fromkeys(record["model"] for record in records):
        own = [record for record in records if record["model"] == label and record["verdict"] != Verdict.ERROR]
        new = sum(not record["known"] for record in own)
        if new:
            gates = "any gate" if new == len(own) else f"{new} of {len(own)} gates"
            folder = baseline_folder(run, specs.get(label))
            place = "" if folder is None else f" in {os.path.relpath(folder, seen_from)}"
            way_out = how_to_compare(run, specs.get(label))
            lines.append(f"no baseline yet for {gates} of {label or 'tests without a model'}{place}; {way_out}")
    return lines


def _short(cache: str) -> str:
    home = str(Path.home())
    return cache.replace(home, "~", 1) if cache.startswith(home) else cache
