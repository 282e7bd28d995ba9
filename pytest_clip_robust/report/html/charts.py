"""Charts with two axes: curves over a grid, and reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.report.html.svg import Point, Scale, element, path, picture

LEFT, RIGHT, TOP, BOTTOM = 46, 16, 8, 38
"""Space around the plotted area, for the labels of its axes."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its ends, the places that are labelled, and its name."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    name: str = ""


def share(name: str) -> Axis:
    """Return an axis from 0 to 1.

    >>> share("accuracy").ticks[1]
    (0.25, '')
    """
    return Axis(0, 1, ((0, "0"), (0.25, ""), (0.5, "0.5"), (0.75, ""), (1, "1")), name)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points. kind: its class in the style sheet. spans: (low, high) of each point, in values of y."""

    name: str
    points: Sequence[Point]
    kind: str = "now"
    spans: Sequence[tuple[float, float]] = ()
    dots: bool = False


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    text: str,
    x: Axis,
    y: Axis,
    size: tuple[int, int] = (260, 210),
    diagonal: bool = False,
) -> Markup:
    """Return a chart of curves; later ones are drawn above earlier ones. `text` says in words what it shows."""
    across, up = scales(x, y, size)
    parts = [frame(x, y, size)]
    if diagonal:
        parts.append(path([(across(x.low), up(y.low)), (across(x.high), up(y.high))], class_="diagonal"))
    for one in lines:
        points = [(across(a), up(b)) for a, b in one.points]
        parts += [
            path([(a, up(low)), (a, up(high))], class_=f"whisker {one.kind}")
            for (a, _), (low, high) in zip(points, one.spans, strict=False)
        ]
        if len(points) > 1:
            parts.append(path(points, class_=f"curve {one.kind}"))
        if one.dots or len(points) == 1:
            parts += [element("circle", cx=a, cy=b, r=3.0, class_=f"dot {one.kind}") for a, b in points]
    return drawing(parts, size, title, text)


def reliability(
    plot: Mapping[str, Sequence[float]],
    *,
    before: Mapping[str, Sequence[float]] | None = None,
    title: str,
    text: str,
    size: tuple[int, int] = (200, 190),
) -> Markup:
    """Return a reliability diagram: per bin of confidence its accuracy as a bar, with a diagonal where both are equal.

    Args:
        plot: columns of bins: ends ``low`` and ``high``, means ``confidence`` and ``accuracy`` (0 to 1), and ``n``.
        before: those of the baseline, drawn as circles that are larger with more samples.
        title: of the drawing.
        text: says in words what it shows.
        size: width and height.
    """
    x, y = share("confidence"), share("accuracy")
    across, up = scales(x, y, size)
    most = max(plot["n"], default=1.0) or 1.0
    parts = [frame(x, y, size)]
    for low, high, confidence, accuracy, n in zip(
        *(plot[name] for name in ("low", "high", "confidence", "accuracy", "n")), strict=True
    ):
        left, right, top = across(low), across(high), up(accuracy)
        words = f"confidence {confidence:.3f}, accuracy {accuracy:.3f}, n = {n:.0f}"
        bar = {"x": left + 0.5, "width": max(right - left - 1, 0.5)}
        parts.append(
            element(
                "rect",
                element("title", words),
                y=top,
                height=up(0) - top,
                class_="bin",
                fill_opacity=0.25 + 0.75 * (n / most) ** 0.5,
                **bar,
            )
        )
        between = sorted((top, up(confidence)))
        parts.append(element("rect", y=between[0], height=between[1] - between[0], class_="gap", **bar))
    parts.append(path([(across(0), up(0)), (across(1), up(1))], class_="diagonal"))
    if before:
        most = max(before["n"])
        parts += [
            element("circle", cx=across(a), cy=up(b), r=1 + 2.5 * (n / most) ** 0.5, class_="dot before")
            for a, b, n in zip(before["confidence"], before["accuracy"], before["n"], strict=True)
        ]
    return drawing(parts, size, title, text)


def drawing(parts: Sequence[Markup], size: tuple[int, int], title: str, text: str) -> Markup:
    """Return the parts as one chart of a size in pixels; `text` says in words what it shows."""
    return picture(*parts, title=title, text=text, viewBox=f"0 0 {size[0]} {size[1]}", class_="chart")


def scales(x: Axis, y: Axis, size: tuple[int, int]) -> tuple[Scale, Scale]:
    """Return the positions of values on both axes."""
    width, height = size
    return Scale(x.low, x.high, LEFT, width - RIGHT), Scale(y.low, y.high, height - BOTTOM, TOP)


def frame(x: Axis, y: Axis, size: tuple[int, int]) -> Markup:
    """Return the grid, the labels of the ticks and the names of both axes."""
    across, up = scales(x, y, size)
    width, height = size
    bottom = height - BOTTOM
    parts = []
    for value, label in x.ticks:
        at = across(value)
        parts.append(path([(at, TOP), (at, bottom)], class_="grid"))
        parts.append(element("text", label, x=at, y=bottom + 14, text_anchor="middle"))
    for value, label in y.ticks:
        at = up(value)
        parts.append(path([(LEFT, at), (width - RIGHT, at)], class_="grid"))
        parts.append(element("text", label, x=LEFT - 5, y=at + 3.5, text_anchor="end"))
    middle = (TOP + bottom) / 2
    parts += [
        element("text", x.name, x=(LEFT + width - RIGHT) / 2, y=float(height - 6), text_anchor="middle", class_="name"),
        element("text", y.name, transform=f"translate(11 {middle:g}) rotate(-90)", text_anchor="middle", class_="name"),
    ]
    return element("g", *parts, class_="frame")
