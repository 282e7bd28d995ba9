"""``clip-robust compare``: what changed between two saved runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_clip_robust.report.comparison import compare_documents, render_comparison
from pytest_clip_robust.report.document import find_report, read_report

DESCRIPTION = """\
Prints what changed from a first run to a second one, by their reports: verdicts, and values that differ by more than
their tolerance, losses first. Nothing is tested, as a report has no outcomes of images; for a paired test run the
second model with --clip-reference=FIRST.

  clip-robust compare report-before report-now
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("first", type=Path, metavar="REPORT", help="folder of --clip-report, or its report.json")
    parser.add_argument("second", type=Path, metavar="REPORT", help="the same of the later run")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:  # noqa: ARG001 - there is no pytest to pass them to
    """Print the comparison.

    Raises:
        ReportError: a report cannot be read.
    """
    first, second = (read_report(find_report(path)) for path in (options.first, options.second))
    sys.stdout.write(render_comparison(compare_documents(first, second), colour=sys.stdout.isatty()))
    return 0
