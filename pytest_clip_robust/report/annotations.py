"""Annotations: what fails, as workflow commands that GitHub shows next to a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record, p_value
from pytest_clip_robust.report.numbers import count, number, probability, signed, span
from pytest_clip_robust.report.order import headlines_first
from pytest_clip_robust.system.text import printable

MOST = 10
"""GitHub shows the first ten errors of a step and hides the others without a word."""

LONGEST = 1000


class FailedTest(NamedTuple):
    """A test that failed for another reason than a gate: its node id, or the name of its finding, and why."""

    name: str
    message: str


def error_commands(
    records: Sequence[Record], *, tests: Sequence[FailedTest] = (), findings: Sequence[FailedTest] = ()
) -> list[str]:
    """Return a workflow command for everything that fails, worst first; the tenth counts the rest if there is more.

    First comes what could not be measured, then gates, then findings that do not hold.

    Args:
        records: those of all gates.
        tests: tests that failed without the verdict of a gate.
        findings: findings on a panel that do not hold.

    >>> record = {"verdict": "error", "failed": True, "model": "m", "measurement": "a,b", "message": "50 %"}
    >>> error_commands([record])
    ['::error title=error%3A a%2Cb (m)::50 %25']
    """
    failed = sorted((record for record in records if record["failed"]), key=headlines_first)
    unmeasured = sum(record["verdict"] == Verdict.ERROR for record in failed)
    of_gates = [(_title(record), _message(record)) for record in failed]
    everything = [
        *of_gates[:unmeasured],
        *((f"failed: {one.name}", one.message) for one in tests),
        *of_gates[unmeasured:],
        *((f"does not hold: {one.name}", one.message) for one in findings),
    ]
    shown = everything if len(everything) <= MOST else everything[: MOST - 1]
    commands = [command(title, message) for title, message in shown]
    if len(everything) > len(shown):
        rest = count(len(everything) - len(shown), "more failure")
        commands.append(command("clip-robust", f"{rest}; the log has all of them, summary.md and index.html all gates"))
    return commands


def command(title: str, message: str) -> str:
    """Return a workflow command on one line; title and message are shown exactly, with control characters visible."""
    text = printable(message)
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"::error title={_property(printable(title)[:LONGEST])}::{_data(cut)}"


def in_github_job() -> bool:
    """Return whether this process runs in a job of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _title(record: Record) -> str:
    name = f" ({record['model']})" if record["model"] else ""
    return f"{record['verdict'].replace('_', ' ')}: {record['measurement']}{name}"


def _message(record: Record) -> str:
    if "value" not in record:
        return record["message"]
    interval, change = record["interval"], record["change"]
    parts = [f"{number(record['value'])} ({span(interval['low'], interval['high'])}), n = {record['n']:,}"]
    if record["objection"]:
        parts.append(record["objection"])
    if record["threshold"] is not None:
        parts.append(f"threshold {record['threshold']}")
    if change is not None:
        p = p_value(record, change) if change["p_adjusted"] is None else change["p_adjusted"]
        band = f"{signed(change['low'])} to {signed(change['high'])}"
        parts.append(f"before {number(change['value'])}, difference {signed(change['difference'])} ({band})")
        parts.append(f"p {probability(p)}")
    return "; ".join(parts)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
