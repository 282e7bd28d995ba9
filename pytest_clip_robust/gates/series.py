"""Series of checkpoints: where along a training a gate broke.

Whether a gate is broken is its verdict: regressed against the baseline or reference, below its threshold, or not
measured. That it stays broken afterwards is an assumption of the bisection, and not of the table of a measured series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.gates.verdict import Verdict

BROKEN = {Verdict.REGRESSED, Verdict.BELOW_THRESHOLD, Verdict.ERROR}

Records = Mapping[str, Record]
"""The records of one checkpoint, by measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A gate of a series that broke.

    sound: the position of the last checkpoint that was measured before it broke; None if the first one is broken.
    first: the position of the first one that is broken. verdict, value: of that one.
    before: the value of the sound one.
    """

    measurement: str
    sound: int | None
    first: int
    verdict: str
    value: float | None
    before: float | None


def is_broken(record: Record) -> bool:
    """Return whether a gate is broken at a checkpoint."""
    return Verdict(record["verdict"]) in BROKEN


def broken_gates(measured: Mapping[int, Records]) -> list[Broken]:
    """Return the gates that broke in a series of which some checkpoints are measured, the earliest first.

    measured: the records of checkpoints, by their position in the series.
    """
    found = []
    for name in sorted({name for records in measured.values() for name in records}):
        places = sorted(place for place, records in measured.items() if name in records)
        first = next((place for place in places if is_broken(measured[place][name])), None)
        if first is None:
            continue
        sound = max((place for place in places if place < first), default=None)
        record = measured[first][name]
        found.append(
            Broken(
                measurement=name,
                sound=sound,
                first=first,
                verdict=record["verdict"],
                value=record.get("value"),
                before=None if sound is None else measured[sound][name].get("value"),
            )
        )
    return sorted(found, key=lambda one: (one.first, one.measurement))


def bisect(length: int, measure: Callable[[int], Records]) -> dict[int, Records]:
    """Measure as few checkpoints of a series as show where each gate broke, and return their records by position.

    The first and the last are measured, and then the middle between the last sound and the first broken checkpoint of
    each gate, until these are neighbours: about log2(length) checkpoints for each place at which gates broke.

    Raises:
        ValueError: the series is empty.
    """
    if length < 1:
        raise ValueError("length=0; expected at least one checkpoint")
    measured = {place: measure(place) for place in dict.fromkeys((0, length - 1))}
    while (place := _next_place(broken_gates(measured))) is not None:
        measured[place] = measure(place)
    return dict(sorted(measured.items()))


def _next_place(broken: Sequence[Broken]) -> int | None:
    """Return the middle of the widest gap in which a gate broke, or None if all are known."""
    gaps = {(one.sound, one.first) for one in broken if one.sound is not None and one.first - one.sound > 1}
    if not gaps:
        return None
    sound, first = max(gaps, key=lambda gap: (gap[1] - gap[0], -gap[0]))
    return (sound + first) // 2
