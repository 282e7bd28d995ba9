"""What a model says of corrupted images: the part of an EvaluatedModel that answers the corruption suite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.corruption_bench import CorruptionBench, same_images
from pytest_clip_robust.datasets.image_set import ImageSet
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.measurement import Predictions, together
from pytest_clip_robust.models.encoder import LoadedModel
from pytest_clip_robust.properties import ood_scores
from pytest_clip_robust.properties.corruption3d import CorruptedAnswers
from pytest_clip_robust.properties.decisions import Decisions, decide
from pytest_clip_robust.properties.ood import Scores
from pytest_clip_robust.properties.reliability import Reliability, assess
from pytest_clip_robust.workbench import Workbench

SCORE = "mcm"
"""The score that OOD images are told from corrupted ones by."""

KINDS_KEPT = 64


class Predict(Protocol):
    """Turns images and their (N, D) features into Predictions, with the profile's prompts."""

    def __call__(self, images: ImageSet, features: NDArray[np.float32], /) -> Predictions:
        """Classify the images among their classes."""


class ZeroShot(Protocol):
    """Classifies a set of the profile."""

    def __call__(self, dataset: str, /) -> Predictions:
        """Classify every image of the set among its classes."""


@dataclass(frozen=True, slots=True)
class UnderCorruption:
    """What a model says of a set under one kind of corruption at one severity.

    reliability and scores are None unless the profile's corruptions.also asks for calibration and ood.
    """

    decisions: Decisions
    answers: NDArray[np.int64]
    reliability: Reliability | None
    scores: Scores | None


class CorruptedEvaluation:
    """Answers for one model. Every question may raise a ClipRobustError, as those of an EvaluatedModel."""

    def __init__(self, loaded: LoadedModel, workbench: Workbench, *, predict: Predict, zero_shot: ZeroShot) -> None:
        self._loaded, self._workbench = loaded, workbench
        self._predict, self._zero_shot = predict, zero_shot
        self._bench = CorruptionBench(workbench)
        self._under = lru_cache(maxsize=KINDS_KEPT)(self._ask)

    def kinds(self, dataset: str) -> tuple[str, ...]:
        """Name the kinds of corruption that `dataset` is measured under."""
        return self._bench.kinds(dataset)

    def at(self, dataset: str, kind: str, severity: int) -> UnderCorruption:
        """Classify the images of `dataset` corrupted by `kind` at `severity`, one of those that the profile asks for.

        Raises:
            ConfigError: it does not ask for it, or the set has not been corrupted so.
        """
        found = self._under(dataset, kind)
        if severity not in found:
            raise ConfigError(f"{dataset!r} is not measured at severity {severity} of {kind!r}, but at {list(found)}")
        return found[severity]

    def answers(self, dataset: str, kind: str) -> CorruptedAnswers:
        """Give the answers at all severities, beside those to the same images uncorrupted where there are any."""
        found = self._under(dataset, kind)
        decided = [one.decisions for one in found.values()]
        return CorruptedAnswers(
            dataset=dataset,
            kind=kind,
            severities=tuple(found),
            answers=np.stack([one.answers for one in found.values()]),
            labels=decided[0].labels,
            clean=self._clean_answers(dataset, decided[0]),
            samples=decided[0].samples,
            provenance=decided[0].provenance.beside(*(one.provenance for one in decided[1:])),
        )

    def _ask(self, dataset: str, kind: str) -> dict[int, UnderCorruption]:
        """Encode all severities in one go, so that making and encoding images overlap."""
        encoded = self._bench.encode(self._loaded, dataset, kind)
        found = {}
        for severity, (images, features) in zip(self._bench.severities(dataset, kind), encoded, strict=True):
            predictions = self._predict(images, features)
            known_by = together(images.fingerprint, f"{kind}/{severity}", self._bench.identity(dataset))
            origin = replace(predictions.provenance, data=known_by)
            found[severity] = self._judge(replace(predictions, dataset=dataset, provenance=origin))
        return found

    def _judge(self, predictions: Predictions) -> UnderCorruption:
        also = self._bench.plan.also
        scores = None
        if "ood" in also:
            scores = Scores(
                dataset=predictions.dataset,
                score=SCORE,
                values=ood_scores.OF_LOGITS[SCORE](predictions.logits, predictions.scale),
                samples=predictions.samples,
                provenance=predictions.provenance,
            )
        return UnderCorruption(
            decisions=decide(predictions),
            answers=_answers(predictions.logits),
            reliability=assess(predictions) if "calibration" in also else None,
            scores=scores,
        )

    def _clean_answers(self, dataset: str, corrupted: Decisions) -> NDArray[np.int64] | None:
        """Answer the uncorrupted images: the set's own, or those of the same names in the ID set."""
        if dataset in self._workbench.run.profile.sets("rgbd"):
            images = self._bench.images(dataset)
            return _answers(self._predict(images, self._workbench.encode_images(self._loaded, images)).logits)
        for name in self._workbench.run.profile.sets("id"):
            known = self._zero_shot(name)
            rows = same_images(corrupted.samples, known.samples)
            if rows is not None and np.array_equal(known.labels[rows], corrupted.labels):
                return _answers(known.logits[rows])
        return None


def _answers(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = logits.argmax(axis=1)
    return answers
