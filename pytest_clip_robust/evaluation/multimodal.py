"""Answers of a large multimodal model to questions about the images of a profile, and those of the tower behind it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.sections import OPTIONS, MultimodalSettings
from pytest_clip_robust.core.arrays import Ints, row_slices
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.engines.base import AlteredImages
from pytest_clip_robust.errors import MeasurementError, NotApplicableError, did_you_mean
from pytest_clip_robust.evaluation.corrupted_images import CorruptedSets, take_evenly
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import AnswersQuestions
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.scoring.forced_choice import Choices, joined, read_places, tower_choices
from pytest_clip_robust.scoring.likelihoods import LIKELIHOOD_VARIANTS, likelihood_scores
from pytest_clip_robust.scoring.named_answers import NamedAnswers, Reading, spoken
from pytest_clip_robust.scoring.option_orders import balanced_orders, best_places, in_orders

GENERATED = "generated"
WAYS = (*(f"likelihood_{variant}" for variant in LIKELIHOOD_VARIANTS), GENERATED)
"""How a model answers: the most likely of all class names, in three ways of counting, or free text between options."""

KEPT = 64
"""Answers to sets that stay in memory."""


class Multimodal:
    """Answers of one model to questions about the sets of the profile; each question is asked once and then stored.

    Every method raises a NotApplicableError for models that do not answer questions.
    """

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._loaded, self._session = features.loaded, session
        self._corrupted = CorruptedSets(session)
        self.choices = lru_cache(maxsize=KEPT)(self._choices)
        self.under_corruption = lru_cache(maxsize=KEPT)(self._under_corruption)

    def _choices(self, dataset: str, way: str) -> Choices:
        """Return the answers to a set of images in one of `WAYS`.

        ``likelihood_sum``, ``likelihood_mean`` and ``likelihood_per_byte`` choose the most likely of all class names.
        ``generated`` reads free text; each image is asked about once for every order in which the options are listed.

        Raises:
            MeasurementError: the way is unknown, or there are too few classes.
        """
        images = self._images(dataset)
        if way == GENERATED:
            return self._generated(images)
        return self._most_likely(images, self._sums(images, images.class_names), way)

    def _under_corruption(self, dataset: str, kind: str, way: str) -> tuple[Choices, Choices]:
        """Return the answers of the model and of its tower to a set under one kind of corruption, at all severities.

        Each image has one question per severity. `way` is one of those that compare likelihoods.

        Raises:
            MeasurementError: the way is not one of them.
            NotApplicableError: also if the tower is not known.
        """
        severities = self._corrupted.severities(dataset, kind)
        of_lmm = [
            replace(found, provenance=replace(found.provenance, data=self._data(dataset, kind, severity)))
            for severity, found in zip(severities, self._corrupted_choices(dataset, kind, way), strict=True)
        ]
        of_tower = [
            tower_choices(self._tower.predictions(images, features), found)
            for (images, features), found in zip(
                self._corrupted.encode(self._tower.loaded, dataset, kind), of_lmm, strict=True
            )
        ]
        return joined(of_lmm), joined(of_tower)

    def _corrupted_choices(self, dataset: str, kind: str, way: str) -> list[Choices]:
        """Return the answers of the model at each severity."""
        if not self._corrupted.made_on_the_fly(dataset):
            read = self._corrupted.read(dataset, kind)
            return [self._most_likely(images, self._sums(images, images.class_names), way) for images in read]
        clean, made = self._corrupted.images(dataset), self._corrupted.made(dataset, kind)
        sums = self._sums(made, clean.class_names)
        return [self._most_likely(clean, part, way) for part in np.split(sums, len(made.severities))]

    def _data(self, dataset: str, kind: str, severity: int) -> str:
        corrupted = f"{kind}/{severity}"
        return combine_digests(
            self._session.library.images(dataset).fingerprint, corrupted, self._corrupted.identity(dataset)
        )

    def tower(self, found: Choices) -> Choices:
        """Return the choices of the model's CLIP tower between the same candidates, about the same images.

        Raises:
            NotApplicableError: also if the tower is not known.
        """
        images = self._images(found.dataset)
        return tower_choices(
            self._tower.predictions(images, self._session.encoder.images(self._tower.loaded, images)), found
        )

    def carries(self, dataset: str, factor: str) -> NDArray[np.bool_]:
        """Return (N,) whether each image that is asked about carries a visual factor.

        Raises:
            MeasurementError: the set does not annotate the factor, or no image carries it.
        """
        annotations = self._images(dataset).annotations
        if factor not in annotations:
            raise MeasurementError(f"{dataset!r} does not annotate {factor!r}{did_you_mean(factor, annotations)}")
        if not annotations[factor].any():
            raise MeasurementError(f"{dataset!r}: no image that is asked about carries {factor!r}")
        return annotations[factor]

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

    def _images(self, dataset: str) -> ImageSet:
        return take_evenly(self._session.library.images(dataset), self._settings.images)

    def _sums(self, asked: ImageSet | AlteredImages, names: Sequence[str]) -> NDArray[np.float32]:
        return self._session.encoder.likelihoods(self._loaded, asked, self._settings.question, names)

    def _most_likely(self, images: ImageSet, sums: NDArray[np.float32], way: str) -> Choices:
        """Return the most likely class name for each image, given the (N, C) log-probabilities of all."""
        variant = next((one for one in LIKELIHOOD_VARIANTS if way == f"likelihood_{one}"), None)
        if variant is None:
            raise MeasurementError(f"no way of answering {way!r}; expected one of {', '.join(WAYS)}")
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
            provenance=self._provenance(images),
        )

    def _generated(self, images: ImageSet) -> Choices:
        candidates = np.stack(
            [_candidates(images, position, self._settings.options) for position in range(len(images))]
        )
        of_sample, shown = in_orders(candidates, balanced_orders(self._settings.options))
        names, reader = images.class_names, _Reader(images)
        asked = [
            (sample, self._settings.choice.replace(OPTIONS, ", ".join(names[i] for i in listed)))
            for sample, listed in zip(of_sample.tolist(), shown.tolist(), strict=True)
        ]
        texts = self._session.encoder.answers(self._loaded, images, asked, limit=self._settings.tokens)
        places, reasons = read_places(
            [reader.read(text, tuple(listed)) for text, listed in zip(texts, shown.tolist(), strict=True)]
        )
        return Choices(
            dataset=images.name,
            how=GENERATED,
            class_names=names,
            labels=images.labels,
            samples=images.samples,
            of_sample=of_sample,
            shown=shown,
            places=places,
            reasons=reasons,
            texts=texts,
            provenance=self._provenance(images),
        )

    def _tell_equal_names(self, images: ImageSet) -> None:
        counts = Counter(map(spoken, images.class_names))
        if equal := [name for name in images.class_names if counts[spoken(name)] > 1]:
            self._session.notice(
                f"{len(equal)} classes of {images.name!r} share their name with another, such as {equal[0]!r}: no "
                "answer can tell these apart, and the first of them counts as the answer"
            )

    def _provenance(self, images: ImageSet) -> Provenance:
        return Provenance(
            model=self._loaded.spec.label,
            weights=self._loaded.weights,
            preprocess=self._loaded.separate_preprocess,
            precision=self._loaded.precision,
            data=images.fingerprint,
        )


class _Reader:
    """Reads answers as one of the listed classes, by all their names."""

    def __init__(self, images: ImageSet) -> None:
        self._names = [
            (name, *(one for one in names if one != name))
            for name, names in zip(images.class_names, images.prompt_names, strict=True)
        ]
        self._of = lru_cache(maxsize=4096)(self._make)

    def read(self, text: str, listed: tuple[int, ...]) -> Reading:
        """Return the place in the list that an answer chooses."""
        return self._of(listed).read(text)

    def _make(self, listed: tuple[int, ...]) -> NamedAnswers:
        return NamedAnswers([self._names[i] for i in listed])


def _candidates(images: ImageSet, position: int, count: int) -> Ints:
    """Return the classes between which a sample is decided: the true one first, and others that its name decides.

    Names of equal wording are never listed together. No model has a part in the choice: options that a model finds hard
    would favour every other model.
    """
    names, label = [spoken(name) for name in images.class_names], int(images.labels[position])
    seed = hashlib.sha256(f"{images.samples[position]}|{images.class_ids[label]}".encode()).digest()
    order = np.random.default_rng(np.frombuffer(seed, np.uint32)).permutation(len(names))
    chosen = [label]
    for other in order.tolist():
        if len(chosen) < count and names[other] not in {names[one] for one in chosen}:
            chosen.append(other)
    if len(chosen) < count:
        raise MeasurementError(
            f"{images.name!r} has {len(chosen)} classes of different names; expected at least {count}, as many as "
            "options are listed"
        )
    return np.array(chosen)
