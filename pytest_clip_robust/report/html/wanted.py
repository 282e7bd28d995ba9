"""Pictures that the page of a run wants, those of plots before those of samples."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.aspects.corruption import corruption_shots
from pytest_clip_robust.report.html.match_pictures import match_shots
from pytest_clip_robust.report.html.pictures import SIDE, VIEW_SIDE, Shot
from pytest_clip_robust.report.html.samples import sample_shots


def wanted_pictures(records: Sequence[Record]) -> dict[Shot, int]:
    """Return the longer side in pixels of every picture that is wanted, most wanted first."""
    sides = dict.fromkeys(match_shots(records), VIEW_SIDE)
    for model in dict.fromkeys(record["model"] for record in records):
        own = [record for record in records if record["model"] == model]
        sides = dict.fromkeys(corruption_shots(own), SIDE) | sides
    return sides | {shot: SIDE for shot in sample_shots(records) if shot not in sides}
