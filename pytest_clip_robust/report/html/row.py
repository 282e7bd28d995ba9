"""Rows: one value with all that a table of the page shows of it, from a gate or from a gate's details."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_clip_robust.gates.record import ChangeRecord, Record, p_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value, in the units of its metric; what is not known is None or ``""``.

    low, high: its 95 % confidence interval. before: the value of the baseline or reference. bound: the threshold.
    chance: the value of a model that guesses. points: further values by name, such as one per prompt set.
    p: adjusted for the other gates of its family, if that was done. anchor: of its row in the table of all gates.
    """

    label: str
    value: float
    lower_is_better: bool = False
    low: float | None = None
    high: float | None = None
    before: float | None = None
    change: ChangeRecord | None = None
    bound: float | None = None
    threshold: str = ""
    chance: float | None = None
    n: int | None = None
    p: float | None = None
    verdict: str = ""
    marks: tuple[str, ...] = ()
    anchor: str = ""
    points: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> list[float]:
        """All values that a drawing of the row shows, without the ends of the interval."""
        known = [self.value, self.before, self.bound, self.chance, *(value for _, value in self.points)]
        return [value for value in known if value is not None]

    @property
    def ends(self) -> list[float]:
        """The ends of the interval."""
        return [value for value in (self.low, self.high) if value is not None]


def row_of(record: Record, *, anchor: str = "", label: str = "") -> Row:
    """Return the row of a gate that measured something; `label` is its key by default."""
    change = record["change"]
    p = None if change is None else change["p_adjusted"]
    if change is not None and p is None:
        p = p_value(record, change)
    return Row(
        label=label or record["measurement"],
        value=record["value"],
        lower_is_better=record["direction"] == "lower",
        low=record["interval"]["low"],
        high=record["interval"]["high"],
        before=None if change is None else change["value"],
        change=change,
        bound=record["bound"],
        threshold=record["threshold"] or "",
        chance=record["chance"],
        n=record["n"],
        p=p,
        verdict=record["verdict"],
        marks=marks_of(record),
        anchor=anchor,
    )


def marks_of(record: Record) -> tuple[str, ...]:
    """Return remarks on a verdict, in words."""
    return tuple(
        words
        for words, holds in (
            ("threshold inside the interval", record.get("within_noise")),
            ("no better than guessing", record.get("at_chance")),
        )
        if holds
    )


def with_points(row: Row, points: Iterable[tuple[str, float]]) -> Row:
    """Return the row with further values."""
    return replace(row, points=tuple(points))
