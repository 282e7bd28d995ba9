"""``clip-robust show``: the tables of a saved run, or its page."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_clip_robust.models.card.sentence import card_lines
from pytest_clip_robust.report.document import find_report, read_report
from pytest_clip_robust.report.study import render_findings
from pytest_clip_robust.report.terminal import render_aspects, render_gates

DESCRIPTION = """\
Prints the tables with which a run ended, from its report, or writes its page or its summary again. Pages that are
written again have no pictures, as a report has none.

  clip-robust show report
  clip-robust show report --html=page.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("report", type=Path, metavar="REPORT", help="folder of --clip-report, or its report.json")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every gate")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page to this file")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the summary, in Markdown, to this file")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:  # noqa: ARG001 - there is no pytest to pass them to
    """Print the tables, or write what was asked for.

    Raises:
        ReportError: the report cannot be read, or a file cannot be written.
    """
    document = read_report(find_report(options.report))
    if options.html:
        from pytest_clip_robust.report.html.render import write_page  # noqa: PLC0415 - imports jinja2

        write_page(document, options.html)
    if options.summary:
        from pytest_clip_robust.report.summary import write_summary  # noqa: PLC0415 - only for this

        write_summary(document, options.summary)
    if options.html or options.summary:
        return 0
    colour = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if colour else 0
    gates, conclusions = document["gates"], document["conclusions"]
    lines = [
        *card_lines(document["models"], width=width),
        render_gates(gates, width=width, colour=colour, every=options.verbose).rstrip("\n"),
        render_aspects(gates, conclusions, width=width, colour=colour).rstrip("\n"),
        *(f"{one['model']}: {one['sentence']}" for one in conclusions),
    ]
    if document["findings"]:
        lines.append(render_findings(document["findings"], width=width, colour=colour).rstrip("\n"))
    sys.stdout.write("\n".join(line for line in lines if line) + "\n")
    return 0
