"""Strips: one row of a table as a drawing. Positions are percentages, so that a strip is as wide as its column.

The numbers are in the columns next to a strip, so screen readers pass over it. To the right is always better.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from markupsafe import Markup

from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.html.svg import Scale, decoration, element
from pytest_clip_robust.report.numbers import number, signed

LANE = 16
"""The height of a row in pixels."""

MARGIN = 2.0
"""Free space at both ends, in percent of the width."""

MOST_TOLERANCES = 12.0
"""Changes of more tolerances are drawn at the end of the strip, with an arrow."""

LEAST_TOLERANCES = 3.0


SHAPES = {
    "error": "-5,-3 -3,-5 0,-2 3,-5 5,-3 2,0 5,3 3,5 0,2 -3,5 -5,3 -2,0",
    "regressed": "-5.5,-4 5.5,-4 0,6",
    "below_threshold": "-5,-5 5,-5 5,5 -5,5",
    "inconclusive": "-5.5,0 0,-5.5 5.5,0 0,5.5",
    "improved": "-5.5,4 5.5,4 0,-6",
    "right": "-8,-5 0,0 -8,5",
    "left": "8,-5 0,0 8,5",
}
"""Corners of marks around a value, in pixels, by verdict; others are dots. An arrow points to what is beyond an end."""


def value_axis(rows: Sequence[Row]) -> Scale:
    """Return the axis of rows of one metric: 0 to 1 where all values are, else from the smallest to the largest."""
    values = list(chain.from_iterable(row.values for row in rows))
    if all(0 <= value <= 1 for value in values):
        low, high = 0.0, 1.0
    else:
        values += chain.from_iterable(row.ends for row in rows)
        low, high = min(values), max(values)
        space = 0.06 * (high - low) or abs(high) or 1.0
        low, high = low - space, high + space
    if rows and rows[0].lower_is_better:
        low, high = high, low
    return Scale(low, high, MARGIN, 100 - MARGIN)


def centred_axis(row: Row, half: float) -> Scale:
    """Return an axis with the value of `row` in its middle, and `half` of its length to each side."""
    return Scale(row.value - half, row.value + half, MARGIN, 100 - MARGIN)


def value_strip(rows: Sequence[Row], axis: Scale | None = None) -> Markup:
    """Return the drawing of rows: intervals, values before and now, thresholds; without `axis`, each has its own."""
    lanes = [_value_lane(row, axis or value_axis([row]), LANE * (place + 0.5)) for place, row in enumerate(rows)]
    return _strip(lanes)


def change_limit(rows: Sequence[Row]) -> float:
    """Return how many tolerances the axis of `change_strip` has to each side of zero."""
    ends = [abs(end) for row in rows for end in _change_in_tolerances(row)]
    return min(max([LEAST_TOLERANCES, *(1.05 * end for end in ends)]), MOST_TOLERANCES)


def change_strip(rows: Sequence[Row], limit: float) -> Markup:
    """Return the drawing of changes in tolerances, from ``-limit`` to ``limit``; the band is what is tolerated."""
    axis = Scale(-limit, limit, MARGIN, 100 - MARGIN)
    height = LANE * len(rows)
    band = element("rect", x=_at(axis(-1)), y=0, width=_at(axis(1) - axis(-1)), height=height, class_="band")
    zero = element("line", x1=_at(axis(0)), x2=_at(axis(0)), y1=0, y2=height, class_="zero")
    lanes = [_change_lane(row, axis, LANE * (place + 0.5)) for place, row in enumerate(rows)]
    return _strip([band, zero, *lanes], lanes=len(rows))


def _strip(parts: Sequence[Markup], *, lanes: int | None = None) -> Markup:
    return decoration(*parts, class_="strip", width="100%", height=LANE * (len(parts) if lanes is None else lanes))


def _value_lane(row: Row, axis: Scale, y: float) -> Markup:
    parts = [element("line", x1=_at(MARGIN), x2=_at(100 - MARGIN), y1=y, y2=y, class_="rail")]
    if row.low is not None and row.high is not None:
        parts.append(element("line", x1=_at(axis(row.low)), x2=_at(axis(row.high)), y1=y, y2=y, class_="whisker"))
    if row.chance is not None:
        parts.append(_tick(axis(row.chance), y, f"guessing: {number(row.chance)}", "chance"))
    if row.bound is not None:
        parts.append(_tick(axis(row.bound), y, f"threshold: {number(row.bound)}", "bound"))
    parts += [_dot(axis(value), y, f"{name}: {number(value)}", "point", 3) for name, value in row.points]
    if row.before is not None:
        parts.append(_dot(axis(row.before), y, f"before: {number(row.before)}", "before", 4))
    parts.append(_mark(axis(row.value), y, f"{row.label}: {number(row.value)}", row.verdict))
    return element("g", *parts)


def _change_lane(row: Row, axis: Scale, y: float) -> Markup:
    found = _change_in_tolerances(row)
    if not found or row.change is None:
        return element("g")
    low, middle, high = found
    title = f"{row.label}: {signed(row.change['difference'])}, tolerance {number(row.change['tolerance'])}"
    whisker = element("line", x1=_at(axis(low)), x2=_at(axis(high)), y1=y, y2=y, class_="whisker")
    end = ("right" if middle > 0 else "left") if abs(middle) > axis.high else row.verdict
    return element("g", whisker, _mark(axis(middle), y, title, row.verdict, shape=end))


def _change_in_tolerances(row: Row) -> tuple[float, float, float] | tuple[()]:
    """Return low end, difference and high end; positive is better. Nothing if there is no change or no tolerance."""
    change = row.change
    if change is None or not change["tolerance"]:
        return ()
    sign = -1 if row.lower_is_better else 1
    low, middle, high = (sign * change[end] / change["tolerance"] for end in ("low", "difference", "high"))
    return min(low, high), middle, max(low, high)


def _mark(x: float, y: float, title: str, verdict: str, *, shape: str = "") -> Markup:
    """Return the mark of a value now, with the shape of its verdict, so that colour is not needed to tell them apart.

    `shape` is another one, for a value beyond an end. Shapes are nested, as their points cannot be percentages.
    """
    points = SHAPES.get(shape or verdict)
    if points is None:
        return _dot(x, y, title, f"now {verdict}", 4.5)
    mark = element("polygon", element("title", title), points=points)
    return element("svg", mark, x=_at(x), y=y, overflow="visible", class_=f"now {verdict}")


def _tick(x: float, y: float, title: str, kind: str) -> Markup:
    return element("line", element("title", title), x1=_at(x), x2=_at(x), y1=y - 6, y2=y + 6, class_=kind)


def _dot(x: float, y: float, title: str, kind: str, radius: float) -> Markup:
    return element("circle", element("title", title), cx=_at(x), cy=y, r=radius, class_=kind)


def _at(percent: float) -> str:
    return f"{percent:.2f}%"
