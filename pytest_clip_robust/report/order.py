"""Order of gates in tables, most urgent verdicts first, and the name of their p-values."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record


def headlines_first(record: Record) -> tuple[int, bool, tuple[int, float, str, str]]:
    """Return a sort key: verdict, then headline gates before details, then as `urgency`."""
    found = urgency(record)
    return found[0], not record.get("headline"), found


def urgency(record: Record) -> tuple[int, float, str, str]:
    """Return a sort key: verdict, then p, the change in tolerances, or the threshold's distance in half-intervals."""
    verdicts = list(Verdict)
    margin = float("inf")
    bound = record.get("bound")
    if bound is not None:
        half_width = (record["interval"]["high"] - record["interval"]["low"]) / 2
        margin = abs(record["value"] - bound) / half_width if half_width else 0.0
    change = record.get("change")
    if change and record["verdict"] == Verdict.INCONCLUSIVE:
        p = change["p_adjusted"]
        margin = change["p_worse"] if p is None else p
    elif change:
        margin = -abs(change["difference"]) / change["tolerance"] if change["tolerance"] else -abs(change["difference"])
    elif record["failed"]:
        margin = -margin
    return (
        verdicts.index(Verdict(record["verdict"])),
        margin,
        record["measurement"],
        record["model"],
    )


def p_name_of(records: Iterable[Record]) -> str:
    """Return the name of a column of p-values: whether they are adjusted for the other gates."""
    changes = [record.get("change") for record in records]
    return "adj. p" if any(change and change["p_adjusted"] is not None for change in changes) else "p"
