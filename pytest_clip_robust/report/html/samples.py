"""Samples behind losses: those that became wrong, and the most confident wrong decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_clip_robust.gates.conclusion import aspect_of
from pytest_clip_robust.gates.record import FlipRecord, Record
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.pictures import Album
from pytest_clip_robust.report.order import headlines_first, urgency

PICTURED = 12
"""Samples of a gate that can have a picture: those that became wrong first, then the most confident misses."""


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
class SampleList:
    """Samples of one gate. flipped: right before and wrong now. missed: wrong now, most confident first."""

    measurement: str
    anchor: str
    verdict: str
    flipped: list[Sample]
    missed: list[Sample]
    pictured: bool


def wanted_pictures(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return the data set and name of every sample that the page has room to picture, most urgent gate first.

    Samples of a set that was corrupted are not pictured: the file shows the image without the corruption.
    """
    found: dict[tuple[str, str], None] = {}
    for record in sorted(filter(_is_listed, records), key=headlines_first):
        if aspect_of(record) != "corruption":
            names = [*(flip["sample"] for flip in _flips(record)), *(miss["sample"] for miss in record["misses"])]
            found |= dict.fromkeys((record["dataset"], name) for name in names[:PICTURED])
    return list(found)


def sample_lists(records: Sequence[Record], gates: Gates, album: Album) -> list[SampleList]:
    """Return the samples of headline gates and of gates that fail, most urgent first; other gates have none."""
    lists = []
    for record in sorted(filter(_is_listed, records), key=urgency):
        dataset = record["dataset"]
        flipped = [
            Sample(
                name=flip["sample"],
                truth=flip["truth"],
                answer=flip["after"],
                confidence=flip["confidence_after"],
                before=flip["before"],
                confidence_before=flip["confidence_before"],
                picture=album.name_of(dataset, flip["sample"]),
            )
            for flip in _flips(record)
        ]
        missed = [
            Sample(
                name=miss["sample"],
                truth=miss["truth"],
                answer=miss["predicted"],
                confidence=miss["confidence"],
                picture=album.name_of(dataset, miss["sample"]),
            )
            for miss in record["misses"]
        ]
        lists.append(
            SampleList(
                measurement=record["measurement"],
                anchor=gates.row(record).anchor,
                verdict=record["verdict"],
                flipped=flipped,
                missed=missed,
                pictured=any(sample.picture for sample in (*flipped, *missed)),
            )
        )
    return lists


def _is_listed(record: Record) -> bool:
    return "value" in record and (record["headline"] or record["failed"]) and bool(_flips(record) or record["misses"])


def _flips(record: Record) -> list[FlipRecord]:
    return [] if record["change"] is None else record["change"]["flips"]
