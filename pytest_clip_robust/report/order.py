"""Order of gates in tables: most urgent verdicts first."""

from __future__ import annotations

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
