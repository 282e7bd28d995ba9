"""Panels: a part of an aspect's section, with plots or with rows that share one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.html.strips import value_axis, value_strip
from pytest_clip_robust.report.html.svg import Scale

MOST_PLOTS = 24
MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with the line below it."""

    drawing: Markup
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Plots or rows under one title. legend: classes of the style sheet with their meaning. note: one more sentence.

    before: the name of the values that are drawn hollow. zoom: draws rows from their smallest to their largest value.
    """

    title: str
    note: str = ""
    plots: tuple[Plot, ...] = ()
    rows: tuple[Row, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    small: bool = False
    before: str = "before"
    zoom: bool = False

    @property
    def strips(self) -> list[tuple[Row, Markup]]:
        """The rows, each with its drawing on the axis of all of them."""
        return [(row, value_strip([row], self.axis)) for row in self.rows]

    @property
    def axis(self) -> Scale:
        """The axis of all rows."""
        return value_axis(self.rows, zoom=self.zoom)

    @property
    def with_intervals(self) -> bool:
        """Whether any row has an interval."""
        return any(row.low is not None for row in self.rows)

    @property
    def with_n(self) -> bool:
        """Whether any row has a number of samples."""
        return any(row.n is not None for row in self.rows)

    @property
    def compared(self) -> bool:
        """Whether any row has a value before."""
        return any(row.before is not None for row in self.rows)


def rows_panel(
    title: str, rows: Sequence[Row], *, note: str = "", before: str = "before", zoom: bool = False
) -> list[Panel]:
    """Return a panel of at most `MOST_ROWS` rows, or nothing without rows."""
    kept = tuple(rows[:MOST_ROWS])
    note = _with_rest(note, len(rows) - len(kept), "row")
    return [Panel(title=title, note=note, rows=kept, before=before, zoom=zoom)] if kept else []


def plots_panel(
    title: str,
    plots: Sequence[Plot],
    *,
    note: str = "",
    legend: Sequence[tuple[str, str]] = (),
    small: bool = False,
) -> list[Panel]:
    """Return a panel of at most `MOST_PLOTS` plots, or nothing without plots."""
    kept = tuple(plots[:MOST_PLOTS])
    note = _with_rest(note, len(plots) - len(kept), "plot")
    return [Panel(title=title, note=note, plots=kept, legend=tuple(legend), small=small)] if kept else []


def _with_rest(note: str, rest: int, noun: str) -> str:
    if not rest:
        return note
    left_out = f"{rest} more {noun}{'' if rest == 1 else 's'} left out; report.json has their values."
    return f"{note} {left_out}".strip()
