"""``clip-robust comment``: one comment per pull request on GitHub, written when something changed."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.comment import comment_of, is_news, is_ours
from pytest_clip_robust.report.document import find_report, read_report
from pytest_clip_robust.system.text import one_line

COMMENTS = "repos/{owner}/{repo}/issues"
"""The path of GitHub's interface; gh fills in the repository."""

DESCRIPTION = """\
Writes the summary of a run as a comment on a pull request, through GitHub's command gh. There is one comment; a later
run changes it if a verdict or a value has changed. While every gate passes, none is written.

  clip-robust comment report --pull-request 12
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("report", type=Path, metavar="REPORT", help="folder of --clip-report, or its report.json")
    parser.add_argument("--pull-request", type=int, required=True, metavar="NUMBER", help="the pull request")
    parser.add_argument("--dry-run", action="store_true", help="print the comment, and ask nothing of GitHub")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:  # noqa: ARG001 - there is no pytest to pass them to
    """Write the comment if there is news.

    Raises:
        ReportError: the report cannot be read, or GitHub refuses.
    """
    document = read_report(find_report(options.report))
    text = comment_of(document)
    if options.dry_run:
        _say(text)
        return 0
    number = options.pull_request
    earlier = next((one for one in _comments(number) if is_ours(one["body"])), None)
    if not is_news(document, None if earlier is None else earlier["body"]):
        _say("nothing changed, so no comment is written")
        return 0
    if earlier is None:
        _gh("api", "-X", "POST", f"{COMMENTS}/{number}/comments", "--input", "-", body=text)
    else:
        _gh("api", "-X", "PATCH", f"{COMMENTS}/comments/{earlier['id']}", "--input", "-", body=text)
    _say(f"{'wrote' if earlier is None else 'changed'} the comment on pull request {number}")
    return 0


def _comments(number: int) -> list[dict[str, Any]]:
    """Return the comments on a pull request, oldest first."""
    lines = _gh("api", "--paginate", "--jq", ".[] | {id, body}", f"{COMMENTS}/{number}/comments").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _gh(*arguments: str, body: str | None = None) -> str:
    program = shutil.which("gh")
    if program is None:
        raise ReportError("GitHub's command gh is not installed; see https://cli.github.com")
    content = None if body is None else json.dumps({"body": body})
    done = subprocess.run([program, *arguments], input=content, capture_output=True, text=True, check=False)  # noqa: S603 - GitHub's own program
    if done.returncode:
        reason = one_line(done.stderr or done.stdout)
        raise ReportError(f"gh api failed: {reason}; does the token have the permission pull-requests: write?")
    return done.stdout


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
