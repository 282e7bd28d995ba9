"""Axes that fit the values on them: straight ones, and probit axes, on which accuracies lie close to lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pytest_clip_robust.report.html.charts import Axis
from pytest_clip_robust.report.html.svg import Point
from pytest_clip_robust.report.numbers import MINUS

EDGE = 1e-4
"""Accuracies of 0 and 1 have no finite place on a probit axis, and are drawn this far inside, as lines are fitted."""

NEAR_EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
ROUND = (*NEAR_EDGES, *(tenth / 10 for tenth in range(1, 10)), *(1 - low for low in reversed(NEAR_EDGES)))
MOST_TICKS = 6
SPACE = 0.07


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """An axis in its own units, and the place in them of every value."""

    axis: Axis
    place: Callable[[float], float]


def straight(value: float) -> float:
    """Return the place of a value on a straight axis: itself."""
    return value


def probit(share: float) -> float:
    """Return the place of an accuracy (0-1) on a probit axis.

    >>> probit(0.5), round(probit(0.975), 2), round(probit(1.0), 2)
    (0.0, 1.96, 3.72)
    """
    return NormalDist().inv_cdf(min(max(share, EDGE), 1 - EDGE))


def fitted(values: Iterable[float], name: str, *, on_probit: bool = False) -> ValueAxis:
    """Return an axis on which all values have a place, with some space at both ends.

    `on_probit` takes shares (0-1); the axis is straight if any value is not a share.
    """
    known = list(values)
    bent = on_probit and all(0 <= value <= 1 for value in known)
    place = probit if bent else straight
    ends = [place(value) for value in (min(known), max(known))]
    space = max(SPACE * (ends[1] - ends[0]), 0.02 * abs(ends[1]), 1e-3)
    low, high = ends[0] - space, ends[1] + space
    marks = _probit_marks(low, high) if bent else rounded(low, high)
    return ValueAxis(Axis(low, high, tuple((place(mark), _words(mark)) for mark in marks), name), place)


def rounded(low: float, high: float) -> list[float]:
    """Return three to six round numbers from `low` to `high`.

    >>> rounded(0.13, 0.58)
    [0.2, 0.3, 0.4, 0.5]
    """
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (times * step) <= MOST_TICKS - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def line_through(points: Sequence[Point], x: Axis, y: Axis) -> list[Point]:
    """Return the part of a straight line that is inside of both axes; `points` are on it, in units of the axes.

    Nothing is returned for points without two different x, or if the line is outside.

    >>> line_through([(0, 0), (1, 1)], Axis(0, 4, ()), Axis(1, 3, ()))
    [(1.0, 1.0), (3.0, 3.0)]
    """
    if not points:
        return []
    first, last = min(points), max(points)
    if last[0] - first[0] < 1e-9:
        return []
    slope = (last[1] - first[1]) / (last[0] - first[0])
    ends = [x.low, x.high]
    if abs(slope) > 1e-9:
        crossings = sorted(first[0] + (end - first[1]) / slope for end in (y.low, y.high))
        ends = [max(ends[0], crossings[0]), min(ends[1], crossings[1])]
    elif not y.low <= first[1] <= y.high:
        return []
    return [(at, first[1] + slope * (at - first[0])) for at in ends] if ends[0] < ends[1] else []


def _probit_marks(low: float, high: float) -> list[float]:
    inside = [share for share in ROUND if low <= probit(share) <= high]
    if len(inside) < 3:
        normal = NormalDist()
        return [mark for mark in rounded(normal.cdf(low), normal.cdf(high)) if 0 < mark < 1]
    while len(inside) > MOST_TICKS:
        inside = inside[1::2] if len(inside) % 2 else inside[::2]
    return inside


def _words(mark: float) -> str:
    return f"{mark:.6f}".rstrip("0").rstrip(".").replace("-", MINUS)
