"""Findings as rows of the page: the answer, its effect in multiples of the smallest one that counts, and the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.core.finding import OF, Answer, FindingResult, Status
from pytest_clip_robust.report.html.svg import Scale, decoration, element
from pytest_clip_robust.report.numbers import signed

HEIGHT = 30
MIDDLE = HEIGHT / 2
MARGIN = 3.0
"""Free space at both ends of an axis, in percent of its width."""

LEAST, MOST = 3.0, 6.0
"""Least and most smallest effects that the axis has to each side of zero; an arrow is drawn for what is beyond."""

SHAPES = {
    Status.HOLDS: "-5.5,0 0,-5.5 5.5,0 0,5.5",
    Status.DOES_NOT_HOLD: "-5,-3 -3,-5 0,-2 3,-5 5,-3 2,0 5,3 3,5 0,2 -3,5 -5,3 -2,0",
    Status.NOT_DECIDED: "-5,-5 5,-5 5,5 -5,5",
}
ARROWS = {True: "-7,-5 1,0 -7,5", False: "7,-5 -1,0 7,5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """A finding that was tested, in words. kind: class of the style sheet, such as ``does-not-hold``.

    models: their number, or that of pairs. units: such as ``"16 families"``, or ``""`` if each model is a unit.
    """

    name: str
    claim: str
    kind: str
    status: str
    statistic: str
    effect: str
    interval: str
    smallest: str
    covers: str
    models: str
    units: str
    reason: str
    strip: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingTable:
    """All findings. tested: rows, those that hold first. untested: the claims by the reason why they were not tested.

    counts: of every status that occurs, with its class. limit: the ends of the axis, in smallest effects.
    """

    tested: list[FindingRow]
    untested: list[tuple[str, list[str]]]
    counts: list[tuple[str, str, int]]
    limit: str


def finding_table(results: Sequence[FindingResult]) -> FindingTable:
    """Return the rows of findings, by status and in the order of the study."""
    answers = [(one, one.answer) for one in results if one.answer is not None]
    limit = _limit([answer for _, answer in answers])
    order = list(Status)
    answers.sort(key=lambda pair: order.index(pair[0].status))
    untested: dict[str, list[str]] = {}
    for one in results:
        if one.answer is None:
            untested.setdefault(one.why, []).append(one.claim)
    counts = [(str(status), kind_of(status), sum(one.status == status for one in results)) for status in order]
    return FindingTable(
        tested=[_row(one, answer, limit) for one, answer in answers],
        untested=list(untested.items()),
        counts=[one for one in counts if one[2]],
        limit=f"{limit:g}",
    )


def kind_of(status: Status) -> str:
    """Return the class of the style sheet of a status.

    >>> kind_of(Status.DOES_NOT_HOLD)
    'does-not-hold'
    """
    return str(status).replace(" ", "-")


def _row(result: FindingResult, answer: Answer, limit: float) -> FindingRow:
    effect, unit = answer.effect, f" {answer.unit}" if answer.unit else ""
    units = "" if effect.units == effect.models else f"{effect.units} {effect.of if effect.of != 'images' else 'units'}"
    smallest_unit = unit.removesuffix("s") if answer.smallest == 1 else unit
    return FindingRow(
        name=result.name,
        claim=result.claim,
        kind=kind_of(result.status),
        status=str(result.status),
        statistic=answer.statistic.rstrip(","),
        effect=f"{signed(effect.value)}{unit}",
        interval=f"{signed(effect.low)} to {signed(effect.high)}",
        smallest=f"{answer.smallest:g}{smallest_unit}",
        covers=OF[effect.of],
        models=str(effect.models),
        units=units,
        reason=answer.reason,
        strip=finding_strip(answer, limit),
    )


def _limit(answers: Sequence[Answer]) -> float:
    ends = [abs(end) / answer.smallest for answer in answers for end in (answer.effect.low, answer.effect.high)]
    return min(max([LEAST, *map(math.ceil, ends)]), MOST)


def finding_strip(answer: Answer, limit: float) -> Markup:
    """Return the drawing of an effect with its interval, from ``-limit`` to ``limit`` smallest effects.

    The band is what does not count: 0 to the smallest effect for a claim of an effect above 0, and the smallest effect
    to each side of 0 for a claim that nothing changes.
    """
    axis = Scale(-limit, limit, MARGIN, 100 - MARGIN)
    low, middle, high = (end / answer.smallest for end in (answer.effect.low, answer.effect.value, answer.effect.high))
    start = 0.0 if answer.predicts == "above 0" else -1.0
    band = element("rect", x=_at(axis(start)), width=_at(axis(1) - axis(start)), y=2, height=HEIGHT - 4, class_="band")
    zero = element("line", x1=_at(axis(0)), x2=_at(axis(0)), y1=2, y2=HEIGHT - 2, class_="zero")
    counts = [
        element("line", x1=_at(axis(at)), x2=_at(axis(at)), y1=2, y2=HEIGHT - 2, class_="counts")
        for at in ((1.0,) if start == 0 else (-1.0, 1.0))
    ]
    whisker = element("line", x1=_at(axis(low)), x2=_at(axis(high)), y1=MIDDLE, y2=MIDDLE, class_="whisker")
    beyond = [
        _shape(axis(end), ARROWS[end > 0], "beyond", "the interval goes on") for end in (low, high) if abs(end) > limit
    ]
    mark = [] if abs(middle) > limit else [_shape(axis(middle), SHAPES[answer.status], f"now {kind_of(answer.status)}",
                                                   signed(answer.effect.value))]  # fmt: skip
    rail = element("line", x1=_at(MARGIN), x2=_at(100 - MARGIN), y1=MIDDLE, y2=MIDDLE, class_="rail")
    return decoration(band, rail, zero, *counts, whisker, *beyond, *mark, class_="strip", width="100%", height=HEIGHT)


def _shape(x: float, points: str, kind: str, title: str) -> Markup:
    polygon = element("polygon", element("title", title), points=points)
    return element("svg", polygon, x=_at(x), y=MIDDLE, overflow="visible", class_=kind)


def _at(percent: float) -> str:
    return f"{percent:.2f}%"
