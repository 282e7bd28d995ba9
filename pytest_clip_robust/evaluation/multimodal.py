"""Answers of a large multimodal model to questions about the images of a profile, and those of the tower behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.sections import MultimodalSettings
from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.datasets.images.choice import even_positions, take_evenly
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.questions.question_set import QuestionSet
from pytest_clip_robust.encoding.engines.base import AlteredImages
from pytest_clip_robust.errors import MeasurementError, NotApplicableError, did_you_mean
from pytest_clip_robust.evaluation.asking import Listed, listed_classes, listed_questions
from pytest_clip_robust.evaluation.classes import Classes
from pytest_clip_robust.evaluation.corrupted_images import CorruptedSets
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import AnswersQuestions
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.scoring.forced_choice import GENERATED, WAYS, Choices, joined, read_places, tower_choices
from pytest_clip_robust.scoring.likelihoods import LIKELIHOOD_VARIANTS, likelihood_scores
from pytest_clip_robust.scoring.named_answers import spoken
from pytest_clip_robust.scoring.option_orders import best_places

KEPT = 64
"""Answers to sets that stay in memory."""


class Multimodal:
    """Answers of one model to questions about the sets of the profile; each question is asked once and then stored.

    Every method raises a NotApplicableError for models that do not answer questions.
    """

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._loaded, self._session = features, features.loaded, session
        self._corrupted = CorruptedSets(session)
        self._images = lru_cache(maxsize=KEPT)(self._choose)
        self._listed = lru_cache(maxsize=KEPT)(self._list_questions)
        self._sums_of_set = lru_cache(maxsize=KEPT)(self._read_sums)
        self.choices = lru_cache(maxsize=KEPT)(self._choices)
        self.answers = lru_cache(maxsize=KEPT)(self._answers)
        self.by_factor = lru_cache(maxsize=KEPT)(self._by_factor)
        self.under_corruption = lru_cache(maxsize=KEPT)(self._under_corruption)

    def _choices(self, dataset: str, way: str) -> Choices:
        """Return the answers to a set of images in one of `WAYS`.

        ``likelihood_sum``, ``likelihood_mean`` and ``likelihood_per_byte`` choose the most likely of all class names.
        ``generated`` reads free text; each image is asked about once for every order in which the options are listed.

        Raises:
            MeasurementError: the way is unknown, or there are too few classes.
        """
        _ = self._answering
        images = self._images(dataset)
        if way == GENERATED:
            return self._generated(listed_classes(images, self._settings))
        return self._most_likely(images, self._sums_of_set(dataset), way)

    def _answers(self, dataset: str, *, published: bool = False) -> Choices:
        """Return the answers in free text to a set of questions, with the kinds of its questions.

        `published` asks once, with the options in the order of the file, as published protocols do.

        Raises:
            MeasurementError: the questions do not all have the same number of options.
        """
        _ = self._answering
        return self._generated(self._listed(dataset, published=published))

    def _by_factor(self, dataset: str, way: str) -> tuple[Choices, Choices, dict[str, NDArray[np.bool_]]]:
        """Return the answers of model and tower to images with one visual factor each, and which carry which factor.

        Raises:
            MeasurementError: the way is not one that compares likelihoods, or no image has a factor.
            NotApplicableError: also if the tower is not known.
        """
        _ = self._tower
        images = _with_factors(self._session.library.images(dataset), self._settings.images_per_factor)
        found = self._most_likely(images, self._sums(images, images.class_names), way)
        return found, self._of_tower(images, found), {name: images.annotations[name] for name in _factors(images)}

    def _under_corruption(self, dataset: str, kind: str, way: str) -> tuple[Choices, Choices]:
        """Return the answers of model and tower to a set under one kind of corruption, at all severities.

        Each image has one question per severity.

        Raises:
            MeasurementError: the way is not one that compares likelihoods.
            NotApplicableError: also if the tower is not known.
        """
        tower, severities = self._tower, self._corrupted.severities(dataset, kind)
        of_lmm = [
            replace(found, provenance=replace(found.provenance, data=self._data(dataset, kind, severity)))
            for severity, found in zip(severities, self._corrupted_choices(dataset, kind, way), strict=True)
        ]
        encoded = self._corrupted.encode(tower.loaded, dataset, kind)
        of_tower = [
            tower_choices(tower.predictions(images, features), found)
            for (images, features), found in zip(encoded, of_lmm, strict=True)
        ]
        return joined(of_lmm), joined(of_tower)

    def tower(self, found: Choices) -> Choices:
        """Return the choices of the model's CLIP tower between the same candidates, about the same images.

        Options of questions take the place of class names in the profile's prompts.

        Raises:
            NotApplicableError: also if the tower is not known, or has no text encoder for the options of questions.
        """
        tower = self._tower
        if found.dataset not in self._session.profile.sets("questions"):
            return self._of_tower(self._images(found.dataset), found)
        tower.require_texts("a choice between the options of a question")
        asked = self._listed(found.dataset, published=False)
        used, image_of = np.unique(asked.image_of, return_inverse=True)
        features = self._session.encoder.images(tower.loaded, asked.images.take(used))
        classes = Classes(found.dataset, found.class_names, tuple((name,) for name in found.class_names))
        predictions = Predictions(
            dataset=found.dataset,
            logits=tower.logits_of(features, classes, self._session.prompts)[image_of],
            labels=found.labels,
            class_names=found.class_names,
            class_ids=found.class_names,
            samples=found.samples,
            scale=tower.scale,
            bias=tower.bias,
            provenance=tower.provenance(asked.fingerprint, self._session.prompts),
        )
        return tower_choices(predictions, found)

    def questions(self, dataset: str) -> QuestionSet:
        """Return a set of questions as its files have it."""
        return self._session.library.questions(dataset)

    def kinds(self, dataset: str) -> NDArray[np.str_]:
        """Return (N,) the kinds of the questions of a set that are asked, ``""`` for those without."""
        return np.array(self._listed(dataset, published=False).kinds)

    @property
    def _settings(self) -> MultimodalSettings:
        return self._session.profile.multimodal

    @property
    def _answering(self) -> AnswersQuestions:
        return self._loaded.multimodal

    @cached_property
    def _tower(self) -> ModelFeatures:
        if not self._answering.tower:
            raise NotApplicableError(
                f"{self._loaded.spec.label}: its config names no CLIP model that it is built on; if there is one, add "
                "?tower=SPEC"
            )
        return ModelFeatures(self._session.load(ModelSpec.parse(self._answering.tower)), self._session)

    def _choose(self, dataset: str) -> ImageSet:
        return take_evenly(self._session.library.images(dataset), self._settings.images)

    def _list_questions(self, dataset: str, *, published: bool) -> Listed:
        return listed_questions(self._session.library.questions(dataset), self._settings, published=published)

    def _of_tower(self, images: ImageSet, found: Choices) -> Choices:
        features = self._session.encoder.images(self._tower.loaded, images)
        return tower_choices(self._tower.predictions(images, features), found)

    def _corrupted_choices(self, dataset: str, kind: str, way: str) -> list[Choices]:
        """Return the answers of the model at each severity."""
        if not self._corrupted.made_on_the_fly(dataset):
            read = self._corrupted.read(dataset, kind)
            return [self._most_likely(images, self._sums(images, images.class_names), way) for images in read]
        clean, made = self._corrupted.images(dataset), self._corrupted.made(dataset, kind)
        sums = self._sums(made, clean.class_names)
        return [self._most_likely(clean, part, way) for part in np.split(sums, len(made.severities))]

    def _data(self, dataset: str, kind: str, severity: int) -> str:
        fingerprint = self._session.library.images(dataset).fingerprint
        return combine_digests(fingerprint, f"{kind}/{severity}", self._corrupted.identity(dataset))

    def _read_sums(self, dataset: str) -> NDArray[np.float32]:
        images = self._images(dataset)
        return self._sums(images, images.class_names)

    def _sums(self, asked: ImageSet | AlteredImages, names: Sequence[str]) -> NDArray[np.float32]:
        return self._session.encoder.likelihoods(self._loaded, asked, self._settings.question, names)

    def _most_likely(self, images: ImageSet, sums: NDArray[np.float32], way: str) -> Choices:
        """Return the most likely class name for each image, given the (N, C) log-probabilities of all."""
        variant = next((one for one in LIKELIHOOD_VARIANTS if way == f"likelihood_{one}"), None)
        if variant is None:
            raise MeasurementError(
                f"no way of answering {way!r}{did_you_mean(way, WAYS)}; it is one of {', '.join(WAYS)}"
            )
        names = images.class_names
        self._tell_equal_names(images)
        tokens, sizes = self._answering.sizes(self._settings.question, names)
        scores = likelihood_scores(sums, tokens, sizes, variant)
        shown = np.broadcast_to(np.arange(len(names)), scores.shape)
        return Choices(
            dataset=images.name,
            how=way,
            class_names=names,
            labels=images.labels,
            samples=images.samples,
            of_sample=np.arange(len(images)),
            shown=shown,
            places=np.concatenate([best_places(scores[part], shown[part]) for part in row_slices(len(scores))]),
            provenance=self._features.provenance(images.fingerprint),
        )

    def _generated(self, asked: Listed) -> Choices:
        texts = self._session.encoder.answers(self._loaded, asked.images, asked.questions, limit=self._settings.tokens)
        places, reasons = read_places(
            [asked.read(text, tuple(shown)) for text, shown in zip(texts, asked.shown.tolist(), strict=True)]
        )
        return Choices(
            dataset=asked.images.name,
            how=GENERATED,
            class_names=asked.class_names,
            labels=asked.labels,
            samples=asked.samples,
            of_sample=asked.of_sample,
            shown=asked.shown,
            places=places,
            reasons=reasons,
            texts=texts,
            provenance=self._features.provenance(asked.fingerprint),
        )

    def _tell_equal_names(self, images: ImageSet) -> None:
        counts = Counter(map(spoken, images.class_names))
        if equal := [name for name in images.class_names if counts[spoken(name)] > 1]:
            self._session.notice(
                f"{len(equal)} classes of {images.name!r} share their name with another, such as {equal[0]!r}: no "
                "answer can tell these apart, and the first of them counts as the answer"
            )


def _factors(images: ImageSet) -> list[str]:
    return [name for name in FACTORS if name in images.annotations]


def _with_factors(images: ImageSet, count: int) -> ImageSet:
    """Return the images that carry a factor, `count` of each, spread evenly over the classes; 0 returns all of them.

    Raises:
        MeasurementError: no image carries a factor.
    """
    chosen: set[int] = set()
    for name in _factors(images):
        carriers = np.flatnonzero(images.annotations[name])
        chosen.update(carriers[even_positions(images.take(carriers), count)].tolist())
    if not chosen:
        raise MeasurementError(f"{images.name!r}: no image carries a visual factor, so there is nothing to measure")
    return images.take(np.array(sorted(chosen)))
