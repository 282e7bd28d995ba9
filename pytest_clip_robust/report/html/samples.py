"""Samples behind losses: those that became wrong, and the most confident wrong decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_clip_robust.gates.conclusion import aspect_of
from pytest_clip_robust.gates.record import FlipRecord, MissRecord, Record
from pytest_clip_robust.report.html.aspects.corruption import ACCURACY
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.pictures import Album, Shot
from pytest_clip_robust.report.order import headlines_first, urgency

MOST_DETAILS = 3
"""Details of an aspect that speak for it in addition to its headline gates."""

PICTURED = 12
"""The number of samples of a gate that are shown with their picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample, its true class and the answer, with its confidence; before is the answer of the baseline, or ``""``.

    picture: the id of its picture in the page, or ``""``.
    """

    name: str
    truth: str
    answer: str
    confidence: float | None
    before: str = ""
    confidence_before: float | None = None
    picture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleGroup:
    """Samples of one kind. cards: those that are shown with their picture; lines: the others, by their names."""

    title: str
    cards: list[Sample]
    lines: list[Sample]
    flips: bool

    def __len__(self) -> int:
        return len(self.cards) + len(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """Samples of one gate: those that became wrong, and the most confident wrong decisions."""

    measurement: str
    anchor: str
    verdict: str
    flipped: SampleGroup
    missed: SampleGroup


def sample_shots(records: Sequence[Record]) -> list[Shot]:
    """Return every sample that is to be shown with its picture, most urgent gate first."""
    of_aspects: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if "value" in record:
            of_aspects.setdefault((record["model"], aspect_of(record)), []).append(record)
    found: dict[Shot, None] = {}
    for record in sorted((one for own in of_aspects.values() for one in _listed(own)), key=headlines_first):
        found |= dict.fromkeys(Shot(record["dataset"], name, _corruption(record)) for name in _pictured(record))
    return list(found)


def sample_lists(records: Sequence[Record], gates: Gates, album: Album) -> list[SampleList]:
    """Return the samples of the gates of an aspect that speak for it, most urgent first; other gates have none."""
    lists = []
    for record in _listed(records):
        shown = set(_pictured(record)) if album.pictures else set()
        flipped = [_flipped(record, flip, album) for flip in _flips(record)]
        missed = [_missed(record, miss, album) for miss in record["misses"]]
        lists.append(
            SampleList(
                measurement=record["measurement"],
                anchor=gates.row(record).anchor,
                verdict=record["verdict"],
                flipped=_group("Right before, wrong now", flipped, shown, flips=True),
                missed=_group("Wrong now, most confident first", missed, shown, flips=False),
            )
        )
    return lists


def _group(title: str, samples: Sequence[Sample], shown: set[str], *, flips: bool) -> SampleGroup:
    cards = [sample for sample in samples if sample.name in shown]
    return SampleGroup(title=title, cards=cards, lines=[one for one in samples if one not in cards], flips=flips)


def _flipped(record: Record, flip: FlipRecord, album: Album) -> Sample:
    return Sample(
        name=flip["sample"],
        truth=flip["truth"],
        answer=flip["after"],
        confidence=flip["confidence_after"],
        before=flip["before"],
        confidence_before=flip["confidence_before"],
        picture=album.name_of(record["dataset"], flip["sample"], _corruption(record)),
    )


def _missed(record: Record, miss: MissRecord, album: Album) -> Sample:
    return Sample(
        name=miss["sample"],
        truth=miss["truth"],
        answer=miss["predicted"],
        confidence=miss["confidence"],
        picture=album.name_of(record["dataset"], miss["sample"], _corruption(record)),
    )


def _pictured(record: Record) -> list[str]:
    """Return the samples of a gate that are shown with their picture: half of them flips, if there are as many."""
    flips, misses = ([one["sample"] for one in some] for some in (_flips(record), record["misses"]))
    half = PICTURED // 2
    order = [*flips[:half], *misses[:half], *flips[half:], *misses[half:]]
    return list(dict.fromkeys(order))[:PICTURED]


def _corruption(record: Record) -> str:
    return record["subset"] if record["metric"] == ACCURACY else ""


def _listed(records: Sequence[Record]) -> list[Record]:
    """Return the gates of an aspect with samples: its headlines and the details that fail, or any without headlines."""
    anything = not any(record["headline"] for record in records)
    found = sorted((one for one in records if _flips(one) or one["misses"]), key=urgency)
    headlines = [record for record in found if record["headline"]]
    details = [record for record in found if not record["headline"] and (record["failed"] or anything)]
    return sorted(headlines + details[:MOST_DETAILS], key=urgency)


def _flips(record: Record) -> list[FlipRecord]:
    return [] if record["change"] is None else record["change"]["flips"]
