"""Bars: shares of samples in bins, such as scores or ranks, now and before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.report.html.charts import Axis, drawing, frame, scales
from pytest_clip_robust.report.html.study.axes import rounded
from pytest_clip_robust.report.html.svg import Scale, element, path

LOWEST = 1e-6
"""The axis of lower bars than this ends at 1."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side: the ends of each bin on the x-axis, and its height, 0 or more. kind: class in the style sheet.

    titles: the text of each bar where a pointer is on it. Bars with titles are filled; others are an outline.
    """

    bins: Sequence[tuple[float, float]]
    heights: Sequence[float]
    kind: str
    titles: Sequence[str] = ()


def bar_chart(
    series: Sequence[Bars], *, title: str, text: str, x: Axis, y: str, size: tuple[int, int] = (260, 190)
) -> Markup:
    """Return a chart of bars; later series are drawn above earlier ones. `text` says in words what it shows.

    y: the name of the axis of heights, which begins at 0 and ends above the highest bar.
    """
    highest = max((height for one in series for height in one.heights), default=0.0)
    top = 1.06 * highest if highest > LOWEST else 1.0
    heights = Axis(0, top, tuple((mark, f"{mark:g}") for mark in rounded(0, top)), y)
    across, up = scales(x, heights, size)
    parts = [frame(x, heights, size)]
    for one in series:
        parts += _filled(one, across, up) if one.titles else [_outline(one, across, up)]
    return drawing(parts, size, title, text)


def _filled(bars: Bars, across: Scale, up: Scale) -> list[Markup]:
    return [
        element(
            "rect",
            element("title", title),
            x=across(low),
            width=max(across(high) - across(low) - 0.5, 0.5),
            y=up(height),
            height=up(0) - up(height),
            class_=f"bar {bars.kind}",
        )
        for (low, high), height, title in zip(bars.bins, bars.heights, bars.titles, strict=True)
    ]


def _outline(bars: Bars, across: Scale, up: Scale) -> Markup:
    steps = [(across(end), up(height)) for ends, height in zip(bars.bins, bars.heights, strict=True) for end in ends]
    ground = [(steps[0][0], up(0)), *steps, (steps[-1][0], up(0))] if steps else []
    return path(ground, class_=f"steps {bars.kind}") if ground else Markup()
