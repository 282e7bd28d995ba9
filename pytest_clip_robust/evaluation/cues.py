"""Answers of models, people and other observers to cue-conflict images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from pytest_clip_robust.core.predictions import TopAnswers
from pytest_clip_robust.datasets.images.cue_names import DecisionTable, find_decisions, read_decisions
from pytest_clip_robust.datasets.images.labels import IMAGENET, class_list
from pytest_clip_robust.errors import ConfigError, DataError, NotApplicableError, did_you_mean
from pytest_clip_robust.evaluation.classes import classes_of, listed_classes
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.scoring.cues import NO_ANSWER, SIXTEEN, Aggregation, CueAnswers, answers_of, sixteen_way

Decision = Literal["direct", "imagenet_mean", "imagenet_sum", "imagenet_max"]
"""Among the set's own classes, or among ImageNet's 1,000 with the mean, sum or maximum of each class's members."""

AGGREGATIONS: Mapping[Decision, Aggregation] = {
    "imagenet_mean": "mean",
    "imagenet_sum": "sum",
    "imagenet_max": "max",
}

POSITION = {name: position for position, name in enumerate(SIXTEEN)}


class ShapeBias:
    """Answers to the cue-conflict sets of the profile."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session

    def answers(self, dataset: str, *, decision: Decision = "direct") -> CueAnswers:
        """Return the answers among the set's own classes, or among ImageNet's 1,000 grouped to the public 16.

        An answer among the 16 that is not one of the set's classes names neither shape nor texture.

        Raises:
            ConfigError: the decision is unknown, or goes through ImageNet and the set has classes outside of the 16.
            NotApplicableError: the model answers among other classes of its own, and the decision is ``direct``.
        """
        images = self._session.library.images(dataset)
        if decision == "direct":
            if not self._features.knows(classes_of(images)):
                raise NotApplicableError(
                    f"{self._features.loaded.spec.label} does not answer among the classes of {dataset!r}, so that it "
                    "has no direct decisions"
                )
            return answers_of(self._features.zero_shot(dataset))
        if decision not in AGGREGATIONS:
            raise ConfigError(f"no cue decision {decision!r}{did_you_mean(decision, ('direct', *AGGREGATIONS))}")
        if not self.of_sixteen(dataset):
            raise ConfigError(
                f"{dataset!r} has {len(images.class_names)} classes of its own; only the public 16 are groups of "
                "ImageNet's"
            )
        logits = self._features.logits(dataset, listed_classes(class_list(IMAGENET)), self._session.prompts)
        position = {name: i for i, name in enumerate(images.class_names)}
        of_sixteen = np.array([position.get(name, NO_ANSWER) for name in SIXTEEN], np.int64)
        answers = of_sixteen[sixteen_way(logits, aggregation=AGGREGATIONS[decision])]
        found = answers_of(self._features.answered(images, TopAnswers(answers=answers)))
        return replace(found, choices=len(SIXTEEN), decision=decision)

    def of_sixteen(self, dataset: str) -> bool:
        """Return whether the set's classes are among the public 16, which are groups of ImageNet's classes."""
        return set(self._session.library.images(dataset).class_names) <= set(SIXTEEN)


def read_observers(places: Sequence[str]) -> list[CueAnswers]:
    """Read tables of decisions, one observer per file; `places` are files or globs.

    Raises:
        DataError: a place names no file, or a table is wrong.
    """
    return [answers_in(read_decisions(path)) for path in find_decisions(places)]


def answers_in(table: DecisionTable) -> CueAnswers:
    """Return one observer's answers among the 16 classes; any other response is no answer.

    Raises:
        DataError: an image has a class outside of the 16.
    """
    unknown = next((cues for cues in table.cues if not {cues.shape, cues.texture} <= POSITION.keys()), None)
    if unknown is not None:
        raise DataError(
            f"decisions of {table.observer!r}: {unknown.stem!r} has a class that is not one of the public 16: "
            f"{', '.join(SIXTEEN)}"
        )
    return CueAnswers(
        dataset=table.observer,
        answers=np.array([POSITION.get(response, NO_ANSWER) for response in table.responses], np.int64),
        shapes=np.array([POSITION[cues.shape] for cues in table.cues], np.int64),
        textures=np.array([POSITION[cues.texture] for cues in table.cues], np.int64),
        class_names=SIXTEEN,
        samples=[cues.stem for cues in table.cues],
        decision="observed",
    )
