"""Models as numbered marks in a chart with two axes, with their intervals and a line that they are compared to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.report.html.charts import BOTTOM, LEFT, RIGHT, TOP, drawing, frame, scales
from pytest_clip_robust.report.html.study.axes import ValueAxis, line_through
from pytest_clip_robust.report.html.study.models import PanelModel
from pytest_clip_robust.report.html.svg import Point, element, path
from pytest_clip_robust.report.numbers import number, span

OUTLINES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "square": "M-4 -4h8v8h-8z",
    "triangle": "M-5 4h10L0 -5z",
    "diamond": "M0 -5.6L5.6 0L0 5.6L-5.6 0z",
    "bar": "M-6 -2.4h12v4.8h-12z",
    "wedge": "M-5 -4h10L0 5z",
    "cross": "M-1.6 -5.5h3.2v3.9h3.9v3.2h-3.9v3.9h-3.2v-3.9h-3.9v-3.2h3.9z",
}
"""Marks of models around their value, in pixels."""

LABEL = (11.0, 9.0)
"""Width and height that the number of a model takes, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A model at two values, each with its interval, or None."""

    model: PanelModel
    x: float
    y: float
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None


def scatter(
    dots: Sequence[Dot],
    *,
    title: str,
    text: str,
    x: ValueAxis,
    y: ValueAxis,
    line: Sequence[Point] = (),
    size: tuple[int, int] = (330, 260),
) -> Markup:
    """Return a chart of models.

    Args:
        dots: the models.
        title: of the drawing.
        text: says in words what it shows.
        x: the axis from left to right.
        y: the axis from bottom to top.
        line: values (x, y) on a line that is straight on these axes; it is drawn from end to end if two x differ.
        size: width and height.
    """
    across, up = scales(x.axis, y.axis, size)
    parts = [frame(x.axis, y.axis, size)]
    on_line = line_through([(x.place(a), y.place(b)) for a, b in line], x.axis, y.axis)
    if on_line:
        parts.append(path([(across(a), up(b)) for a, b in on_line], class_="reference-line"))
    places = [(across(x.place(dot.x)), up(y.place(dot.y))) for dot in dots]
    for dot, (left, top) in zip(dots, places, strict=True):
        if dot.x_span:
            ends = [(across(x.place(end)), top) for end in dot.x_span]
            parts.append(path(ends, class_=f"span {dot.model.colour}"))
        if dot.y_span:
            ends = [(left, up(y.place(end))) for end in dot.y_span]
            parts.append(path(ends, class_=f"span {dot.model.colour}"))
    parts += [_mark(dot, place, x.axis.name, y.axis.name) for dot, place in zip(dots, places, strict=True)]
    parts += [
        element("text", str(dots[i].model.place), x=at[0], y=at[1], text_anchor="middle", class_="number")
        for i, at in numbers_at(places, size).items()
    ]
    return drawing(parts, size, title, text)


def numbers_at(places: Sequence[Point], size: tuple[int, int]) -> dict[int, Point]:
    """Return where the numbers of marks are written: next to each mark that has free space around it, inside the frame.

    >>> numbers_at([(100, 100), (101, 100)], (330, 260))
    {0: (112, 103), 1: (89, 103)}
    """
    width, height = LABEL
    taken = list(places)
    found: dict[int, Point] = {}
    for i, (x, y) in enumerate(places):
        for dx, dy in ((12, 0), (-12, 0), (0, -10.5), (0, 10.5), (8.5, -8), (-8.5, -8), (8.5, 8), (-8.5, 8)):
            at = (x + dx, y + dy)
            free = all(
                abs(at[0] - other[0]) >= width - 1 or abs(at[1] - other[1]) >= height
                for j, other in enumerate(taken)
                if j != i
            )
            if free and LEFT < at[0] < size[0] - RIGHT + 8 and TOP < at[1] < size[1] - BOTTOM:
                taken.append(at)
                found[i] = (at[0], at[1] + 3)
                break
    return found


def _mark(dot: Dot, place: Point, x_name: str, y_name: str) -> Markup:
    """Return the mark of a model, whose title has its numbers and factors; marks of reference models are hollow."""
    model = dot.model
    words = f"{_value(y_name, dot.y, dot.y_span)}; {_value(x_name, dot.x, dot.x_span)}. {model.about}"
    return element(
        "path",
        element("title", words),
        d=OUTLINES[model.shape],
        transform=f"translate({place[0]:.1f} {place[1]:.1f})",
        class_=f"model {model.colour}{' reference' if model.reference else ''}",
        data_m=model.place,
    )


def _value(name: str, value: float, ends: tuple[float, float] | None) -> str:
    return f"{name} {number(value)}{f' ({span(*ends)})' if ends else ''}"
