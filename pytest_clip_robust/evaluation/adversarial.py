"""Answers of one model to images that are attacked through its own gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.datasets.images.choice import take_evenly
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import NotApplicableError
from pytest_clip_robust.evaluation.classes import classes_of
from pytest_clip_robust.evaluation.features import Array, ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.names import ATTACK_BUDGETS
from pytest_clip_robust.scoring.adversarial import AttackedAnswers

if TYPE_CHECKING:
    from pytest_clip_robust.encoding.attacks import Classify

LINEAR = 1e-4
"""Relative difference up to which a head counts as linear."""


class Adversarial:
    """Answers to the images of a set under attacks within small budgets."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self.answers = lru_cache(maxsize=None)(self._answers)

    def _answers(self, dataset: str) -> AttackedAnswers:
        """Return the answers to some images of a set, attacked at every budget of `ATTACK_BUDGETS`.

        Raises:
            NotApplicableError: the model gives no gradients by its pixels, such as saved answers or feature packs.
            ConfigError: the package that attacks is not installed.
            DataError: an image cannot be read.
        """
        from pytest_clip_robust.encoding.attacks import VERSION, attack_images  # noqa: PLC0415 - imports torch

        loaded, settings = self._features.loaded, self._session.profile.adversarial
        if self._features.saved is not None or self._session.run.rank is not None:
            reason = "a rank only encodes" if self._features.saved is None else "saved answers have no gradients"
            raise NotApplicableError(f"images of {dataset!r} are attacked by the run that measures: {reason}")
        _ = loaded.image_encoder  # raises before anything is read
        images = take_evenly(self._session.library.images(dataset), settings.images)
        features = self._session.encoder.images(loaded, images)
        with self._session.progress("attacked images", dataset, len(images)) as advance:
            found = attack_images(
                loaded,
                images,
                self._classifier(images, features),
                features=features,
                budgets=ATTACK_BUDGETS,
                steps=settings.steps,
                advance=advance,
            )
        provenance = self._features.provenance(images.fingerprint, self._session.prompts)
        made = f"attacks version {VERSION}, {settings.steps} steps, budgets {ATTACK_BUDGETS}"
        return AttackedAnswers(
            dataset=dataset,
            budgets=ATTACK_BUDGETS,
            steps=settings.steps,
            labels=images.labels,
            clean=found.clean,
            answers=found.answers,
            confidence=found.confidence,
            class_names=images.class_names,
            samples=images.samples,
            provenance=replace(provenance, data=combine_digests(provenance.data, made)),
        )

    def _classifier(self, images: ImageSet, features: Array) -> Classify:
        """Return the function from features to logits, of the zero-shot classifier or of the head.

        Raises:
            NotApplicableError: the head is not linear in its features, so its gradient is not known.
        """
        from pytest_clip_robust.encoding.attacks import cosine_classifier, linear_classifier  # noqa: PLC0415 - as above

        classes = classes_of(images)
        if self._features.head is None:
            scale, bias = self._features.scale, self._features.bias
            return cosine_classifier(
                self._features.weights(classes.names, self._session.prompts), scale=scale, bias=bias
            )
        head = self._features.head
        offset = head.logits(np.zeros((1, features.shape[1]), np.float32), classes)[0]
        matrix = (head.logits(np.eye(features.shape[1], dtype=np.float32), classes) - offset).T
        expected = head.logits(features, classes)
        if np.abs(features @ matrix.T + offset - expected).max() > LINEAR * max(1.0, float(np.abs(expected).max())):
            raise NotApplicableError(
                f"the head of {self._features.loaded.spec.label} is not linear in its features, so its gradient is not "
                "known"
            )
        return linear_classifier(matrix, offset)
