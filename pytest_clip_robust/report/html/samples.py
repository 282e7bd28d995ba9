"""Samples behind losses: those that became wrong, and the most confident wrong decisions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.order import urgency

Pictures = Mapping[tuple[str, str], bytes]
"""WebP images by data set and sample."""

NO_PICTURES: Pictures = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample, its true class and the answer, with its confidence; before is the answer of the baseline, or ``""``.

    picture: a ``data:`` URL, or ``""``.
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


def sample_lists(records: Sequence[Record], gates: Gates, pictures: Pictures) -> list[SampleList]:
    """Return the samples of headline gates and of gates that fail, most urgent first; other gates have none."""
    lists = []
    for record in sorted(records, key=urgency):
        flips = record["change"]["flips"] if record["change"] is not None else []
        if not (record["headline"] or record["failed"]) or not (flips or record["misses"]):
            continue
        flipped = [
            Sample(
                name=flip["sample"],
                truth=flip["truth"],
                answer=flip["after"],
                confidence=flip["confidence_after"],
                before=flip["before"],
                confidence_before=flip["confidence_before"],
                picture=picture_url(pictures.get((record["dataset"], flip["sample"]))),
            )
            for flip in flips
        ]
        missed = [
            Sample(
                name=miss["sample"],
                truth=miss["truth"],
                answer=miss["predicted"],
                confidence=miss["confidence"],
                picture=picture_url(pictures.get((record["dataset"], miss["sample"]))),
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


def picture_url(content: bytes | None) -> str:
    """Return a WebP image as a ``data:`` URL; ``""`` without one.

    >>> picture_url(b"RIFF"), picture_url(None)
    ('data:image/webp;base64,UklGRg==', '')
    """
    return "" if content is None else f"data:image/webp;base64,{base64.b64encode(content).decode()}"
