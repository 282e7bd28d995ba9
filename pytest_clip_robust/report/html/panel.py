"""Panels: a part of an aspect's section, with plots or with rows that share one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.html.strips import centred_axis, value_axis, value_strip
from pytest_clip_robust.report.numbers import MINUS

MOST_PLOTS = 24
MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Still:
    """A small picture below a plot: the id of the picture, what it shows, and the word below it."""

    picture: str
    text: str
    caption: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with the line below it, and small pictures of what it is about."""

    drawing: Markup
    caption: str
    stills: tuple[Still, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Plots or rows under one title. legend: classes of the style sheet with their meaning. note: one more sentence.

    before: the name of the values that are drawn hollow. half: if above 0, every row has an
    axis of its own, of this length to each side of its value, for differences that are small next to the values.
    """

    title: str
    note: str = ""
    plots: tuple[Plot, ...] = ()
    rows: tuple[Row, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    small: bool = False
    before: str = "before"
    half: float = 0.0

    @property
    def strips(self) -> list[tuple[Row, Markup]]:
        """The rows, each with its drawing on the axis of all of them."""
        shared = value_axis(self.rows)
        axes = [centred_axis(row, self.half) if self.half else shared for row in self.rows]
        return [(row, value_strip([row], axis)) for row, axis in zip(self.rows, axes, strict=True)]

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of the axis, in words."""
        if self.half:
            return f"{MINUS}{self.half:.2g}", f"+{self.half:.2g}"
        axis = value_axis(self.rows)
        return f"{axis.low:.3g}".replace("-", MINUS), f"{axis.high:.3g}".replace("-", MINUS)

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
    title: str, rows: Sequence[Row], *, note: str = "", before: str = "before", half: float = 0.0
) -> list[Panel]:
    """Return a panel of at most `MOST_ROWS` rows, or nothing without rows."""
    kept = tuple(rows[:MOST_ROWS])
    note = _with_rest(note, len(rows) - len(kept), "row")
    return [Panel(title=title, note=note, rows=kept, before=before, half=half)] if kept else []


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
