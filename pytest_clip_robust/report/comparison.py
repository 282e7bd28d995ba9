"""Comparison of two saved runs: verdicts, values by more than their tolerance, models, data and versions.

A report has values and intervals and no outcomes of samples, so nothing is tested here; for a paired test run the one
model with the other as its reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.report.numbers import count, number, signed, span
from pytest_clip_robust.report.terminal import draw
from pytest_clip_robust.system.text import printable

SHOWN = 40


@dataclass(frozen=True, slots=True)
class ChangedGate:
    """One gate of both runs. loss: how much worse the second value is, in tolerances; negative if it is better."""

    first: Record
    second: Record
    loss: float

    @property
    def verdict_changed(self) -> bool:
        """Whether the two verdicts differ."""
        return self.first["verdict"] != self.second["verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences between two runs.

    gates: those of both runs whose verdict differs, or whose value differs by more than its tolerance; losses first.
    same: the number of other gates that both runs have. only_first, only_second: names of gates that one run has.
    remarks: one line for each difference between the runs that is not a gate's.
    """

    gates: tuple[ChangedGate, ...]
    same: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    remarks: tuple[str, ...]


def compare_documents(first: Document, second: Document) -> Comparison:
    """Compare two reports: gates of equal names, and of equal models unless each report has a single one."""
    alone = all(len({record["model"] for record in one["gates"]}) == 1 for one in (first, second))
    ours, theirs = (_by_name(one, with_model=not alone) for one in (first, second))
    both = [ChangedGate(ours[key], theirs[key], _loss(ours[key], theirs[key])) for key in ours if key in theirs]
    changed = [one for one in both if one.verdict_changed or abs(one.loss) > 1]
    return Comparison(
        gates=tuple(sorted(changed, key=_order)),
        same=len(both) - len(changed),
        only_first=tuple(sorted(ours[key]["measurement"] for key in ours if key not in theirs)),
        only_second=tuple(sorted(theirs[key]["measurement"] for key in theirs if key not in ours)),
        remarks=tuple(_remarks(first, second)),
    )


def render_comparison(found: Comparison, *, width: int = 0, colour: bool = False) -> str:
    """Return the comparison as text for a terminal."""
    parts: list[Table | Text] = []
    if found.gates:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        for column in ("verdict", "measurement", "first", "second", "difference", "95 % interval now", "n"):
            right = column in {"first", "second", "difference", "n"}
            table.add_column(column, justify="right" if right else "left", no_wrap=column != "measurement")
        for one in found.gates[:SHOWN]:
            table.add_row(*map(Text, _cells(one)))
        parts.append(table)
        if len(found.gates) > SHOWN:
            parts.append(Text(f"and {len(found.gates) - SHOWN} more"))
    parts += [Text(line) for line in _closing(found)]
    return draw(parts, width=width, colour=colour)


def _cells(one: ChangedGate) -> tuple[str, ...]:
    verdicts = (one.first["verdict"], one.second["verdict"]) if one.verdict_changed else (one.second["verdict"],)
    verdict = " -> ".join(verdict.replace("_", " ") for verdict in verdicts)
    name = printable(one.second["measurement"])
    if "value" not in one.first or "value" not in one.second:
        values = (number(record["value"]) if "value" in record else "none" for record in (one.first, one.second))
        return verdict, name, *values, "", "", ""
    interval = one.second["interval"]
    return (
        verdict,
        name,
        number(one.first["value"]),
        number(one.second["value"]),
        signed(one.second["value"] - one.first["value"]),
        span(interval["low"], interval["high"]),
        f"{one.second['n']:,}",
    )


def _closing(found: Comparison) -> list[str]:
    worse, better = (sum(one.loss * sign > 1 for one in found.gates) for sign in (1, -1))
    verdicts = count(sum(one.verdict_changed for one in found.gates), "verdict")
    values = f"{count(worse, 'gate')} worse and {count(better, 'gate')} better by more than the tolerance"
    lines = [f"{values}, {verdicts} changed, {count(found.same, 'gate')} within it"]
    for which, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            more = f", and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"only in the {which} run: {', '.join(map(printable, names[:3]))}{more}")
    return [*lines, *found.remarks]


def _by_name(document: Document, *, with_model: bool) -> dict[tuple[str, str], Record]:
    return {(record["model"] if with_model else "", record["measurement"]): record for record in document["gates"]}


def _loss(first: Record, second: Record) -> float:
    """Return how much worse the second value is, in tolerances; 0 where one was not measured."""
    if "value" not in first or "value" not in second:
        return 0.0
    loss = (first["value"] - second["value"]) * (1 if second["direction"] == "higher" else -1)
    # Tolerances can be 0, and decimals are not exact.
    return loss / max(second["tolerance"], 1e-9) if abs(loss) > 1e-9 else 0.0


def _order(one: ChangedGate) -> tuple[bool, int, float, str]:
    headline = bool(one.second.get("headline"))
    return (not headline, -round(one.loss * 1e6), -one.loss, one.second["measurement"])


def _remarks(first: Document, second: Document) -> Iterator[str]:
    for label, key in (("profile", "profile"), ("precision", "precision"), ("reference", "reference")):
        before, now = first[key], second[key]  # type: ignore[literal-required]
        if before != now:
            yield f"{label}: {printable(before or 'none')} -> {printable(now or 'none')}"
    for name in sorted(set(first["data"]) & set(second["data"])):
        if first["data"][name]["fingerprint"] != second["data"][name]["fingerprint"]:
            yield f"data {printable(name)}: not the same images and labels in both runs"
    changed = {
        name: (first["versions"].get(name, "none"), second["versions"].get(name, "none"))
        for name in sorted({*first["versions"], *second["versions"]})
    }
    versions = [f"{name} {before} -> {now}" for name, (before, now) in changed.items() if before != now]
    if versions:
        yield f"versions: {', '.join(map(printable, versions))}"
