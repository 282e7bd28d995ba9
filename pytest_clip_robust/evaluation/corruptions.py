"""Answers of one model to corrupted images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import ConfigError, NotApplicableError
from pytest_clip_robust.evaluation.corrupted_images import CorruptedSets, same_images
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import Confidences, softmax_confidences
from pytest_clip_robust.scoring.decisions import CorruptedAnswers, Decisions, decide
from pytest_clip_robust.scoring.ood_scores import Scores

SCORE, SCORE_OF_HEADS = "mcm", "msp"
"""The scores for OOD detection under corruption: without a text encoder there are no cosines."""

KINDS_KEPT = 64


@dataclass(frozen=True, slots=True)
class UnderCorruption:
    """The answers to a set under one kind of corruption at one severity.

    answers: (N,) classes. confidences, scores: None unless the profile's corruptions.also names calibration and ood.
    """

    decisions: Decisions
    answers: NDArray[np.int64]
    confidences: Confidences | None
    scores: Scores | None


class Corruptions:
    """Answers to the corrupted images of the profile."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._sets = CorruptedSets(session)
        self._under = lru_cache(maxsize=KINDS_KEPT)(self._compute)

    def kinds(self, dataset: str) -> tuple[str, ...]:
        """Return the kinds of corruption that `dataset` is measured under."""
        return self._sets.kinds(dataset)

    def at(self, dataset: str, kind: str, severity: int) -> UnderCorruption:
        """Return the answers to `dataset` corrupted by `kind` at `severity`, 1 to 5.

        Raises:
            ConfigError: the profile does not name the severity, or the set does not have it.
        """
        found = self._under(dataset, kind)
        if severity not in found:
            raise ConfigError(f"{dataset!r} is not measured at severity {severity} of {kind!r}, but at {list(found)}")
        return found[severity]

    def answers(self, dataset: str, kind: str) -> CorruptedAnswers:
        """Return the answers at all severities, with those to the same images without corruption if they are known."""
        found = self._under(dataset, kind)
        decided = [one.decisions for one in found.values()]
        return CorruptedAnswers(
            dataset=dataset,
            kind=kind,
            severities=tuple(found),
            answers=np.stack([one.answers for one in found.values()]),
            labels=decided[0].labels,
            clean=self._clean_answers(dataset, decided[0]),
            n_classes=len(decided[0].class_names),
            samples=decided[0].samples,
            provenance=decided[0].provenance.merged_with(*(one.provenance for one in decided[1:])),
        )

    def _compute(self, dataset: str, kind: str) -> dict[int, UnderCorruption]:
        """Return the answers by severity; all severities are encoded at once, so that making and encoding overlap."""
        found = {}
        severities = self._sets.severities(dataset, kind)
        for severity, predictions in zip(severities, self._predictions(dataset, kind), strict=True):
            fingerprint = predictions.provenance.data
            data = combine_digests(fingerprint, f"{kind}/{severity}", self._sets.identity(dataset))
            provenance = replace(predictions.provenance, data=data)
            found[severity] = self._summarise(replace(predictions, dataset=dataset, provenance=provenance))
        return found

    def _predictions(self, dataset: str, kind: str) -> Iterator[Predictions]:
        if self._features.saved is None:
            for images, features in self._sets.encode(self._features.loaded, dataset, kind):
                yield self._features.predictions(images, features)
            return
        if self._sets.made_on_the_fly(dataset):
            raise NotApplicableError(f"corruptions of {dataset!r} are made by the run: no answers to them are saved")
        for images in self._sets.read(dataset, kind):
            yield self._features.saved_predictions(images)

    def _summarise(self, predictions: Predictions) -> UnderCorruption:
        also = self._sets.settings.also
        scores = None
        if "ood" in also:
            logits = predictions.all_logits("OOD detection under corruption")
            score = SCORE if self._features.loaded.has_texts else SCORE_OF_HEADS
            scores = Scores(
                dataset=predictions.dataset,
                score=score,
                values=ood_scores.OF_LOGITS[score](logits, predictions.scale),
                samples=predictions.samples,
                provenance=predictions.provenance,
            )
        return UnderCorruption(
            decisions=decide(predictions),
            answers=predictions.answers,
            confidences=softmax_confidences(predictions) if "calibration" in also else None,
            scores=scores,
        )

    def _clean_answers(self, dataset: str, corrupted: Decisions) -> NDArray[np.int64] | None:
        """Return the answers to the set's own clean images, or to images of the same names in the ID set."""
        if self._sets.made_on_the_fly(dataset):
            images = self._sets.images(dataset)
            features = self._session.encoder.images(self._features.loaded, images)
            return self._features.predictions(images, features).answers
        for name in self._session.profile.sets("id"):
            known = self._features.zero_shot(name)
            rows = same_images(corrupted.samples, known.samples)
            if rows is not None and np.array_equal(known.labels[rows], corrupted.labels):
                return known.answers[rows]
        return None
