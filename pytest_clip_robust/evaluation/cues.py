"""Observers: tables of what people, or other models, answered about the public cue-conflict images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_clip_robust.datasets.images.cue_names import DecisionTable, find_decisions, read_decisions
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.scoring.cues import NO_ANSWER, SIXTEEN, CueAnswers

PLACE = {name: position for position, name in enumerate(SIXTEEN)}


def read_observers(places: Sequence[str]) -> list[CueAnswers]:
    """Read the tables that `places` (files or globs) name, one observer a file.

    Raises:
        DataError: a place names no file, or a table is wrong.
    """
    return [answers_in(read_decisions(path)) for path in find_decisions(places)]


def answers_in(table: DecisionTable) -> CueAnswers:
    """Turn one observer's table into answers among the 16 classes; a response that is none of them is no answer.

    Raises:
        DataError: an image has a class that is none of the 16.
    """
    stranger = next((cues for cues in table.cues if not {cues.shape, cues.texture} <= PLACE.keys()), None)
    if stranger is not None:
        raise DataError(
            f"decisions of {table.observer!r}: {stranger.stem!r} has a class that is none of the public 16: "
            f"{', '.join(SIXTEEN)}"
        )
    return CueAnswers(
        dataset=table.observer,
        answers=np.array([PLACE.get(response, NO_ANSWER) for response in table.responses], np.int64),
        shapes=np.array([PLACE[cues.shape] for cues in table.cues], np.int64),
        textures=np.array([PLACE[cues.texture] for cues in table.cues], np.int64),
        class_names=SIXTEEN,
        samples=[cues.stem for cues in table.cues],
        decision="observed",
    )
