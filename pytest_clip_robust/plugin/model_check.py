"""``--clip-check``: check the models in this process and end, without a session, tests or workers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from _pytest.config import create_terminal_writer

from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.plugin.options import read_config
from pytest_clip_robust.plugin.terminal_width import table_width
from pytest_clip_robust.system.quiet import quiet

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter

    from pytest_clip_robust.config.run import RunConfig
    from pytest_clip_robust.core.checks import CheckedModel

FILE = "check.json"


def run_checks(config: pytest.Config) -> int:
    """Check every model of the run, print a table for each, and return the exit code: 1 if a check failed, else 0.

    Raises:
        UsageError: an option is wrong, or the report cannot be written.
    """
    terminal = create_terminal_writer(config, sys.stdout)
    try:
        run = read_config(config)
        terminal.sep("=", "clip check", bold=True)
        return _run(config, run, terminal)
    except ClipRobustError as error:
        raise pytest.UsageError(str(error)) from None


def _run(config: pytest.Config, run: RunConfig, terminal: TerminalWriter) -> int:
    with quiet():
        from pytest_clip_robust.evaluation.model_check import check_models  # noqa: PLC0415 - imports torch
        from pytest_clip_robust.report.checks import build_checks, render_checks, write_checks  # noqa: PLC0415

    width = table_width(terminal, isatty=sys.stdout.isatty())
    checked: list[CheckedModel] = []
    for model in check_models(run):
        checked.append(model)
        terminal.write(render_checks(model, width=width, colour=terminal.hasmarkup), flush=True)
    failed = sum(model.failed for model in checked)
    code = int(pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK)
    if run.report is not None:
        document = build_checks(checked, device=run.device, precision=run.precision, exit_status=code)
        write_checks(document, run.report / FILE)
        terminal.line(f"report: {os.path.relpath(run.report / FILE, config.invocation_params.dir)}")
    verdict = (
        f"{failed} of {len(checked)} models failed" if failed else f"{len(checked)} of {len(checked)} models passed"
    )
    terminal.sep("=", verdict, bold=True, red=bool(failed), green=not failed)
    return code
