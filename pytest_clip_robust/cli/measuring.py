"""Measuring of checkpoints by a run of pytest in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from pytest_clip_robust.config.shipped import shipped_suites
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.document import Document, read_report

MEASURED = {0, 1}
"""Exit statuses of pytest after which the report is complete: all tests passed, or some failed."""


def measure(
    models: Sequence[str], profile: Path | str, folder: Path, passed: Sequence[str] = (), *, reference: str = ""
) -> dict[Path, Document]:
    """Measure `models` with the shipped suites and return the report, by its path in `folder`.

    Baselines of the project are not used. Output goes to the terminal.

    Args:
        models: model specs.
        profile: a TOML file, or the name of a shipped profile.
        folder: an existing empty folder for the report.
        passed: arguments for pytest. Those at the beginning that are not options are paths of suites, which replace
            the shipped ones.
        reference: a model spec to compare with, or none.

    Raises:
        ReportError: pytest ended before it measured the models.
    """
    baselines = folder / "no-baselines"
    baselines.mkdir()
    chosen = list(takewhile(lambda argument: not argument.startswith("-"), passed))
    command = [
        sys.executable, "-m", "pytest", *(chosen or shipped_suites()), *passed[len(chosen) :],
        *(f"--clip-model={model}" for model in models), f"--clip-profile={profile}", f"--clip-report={folder}",
        f"--clip-baselines={baselines}", f"--clip-reference={reference}", "--maxfail=0",
    ]  # fmt: skip
    status = subprocess.run(command, check=False).returncode  # noqa: S603 - the user's own command line
    if status not in MEASURED:
        raise ReportError(f"pytest ended with exit status {status} before it measured all gates; see its output above")
    path = folder / "report.json"
    return {path: read_report(path)}
