"""Answers of one model to photographs with painted words, and with words on notes that were there before."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.corruptions.notes import VERSION
from pytest_clip_robust.corruptions.painted_images import PaintedImages
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet
from pytest_clip_robust.datasets.images.choice import take_evenly
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import ConfigError, NotApplicableError
from pytest_clip_robust.evaluation.features import Array, ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.names import PHOTO
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.scoring.painted import PaintedAnswers
from pytest_clip_robust.scoring.pairs import Contrasts, contrast


class Typographic:
    """Answers to images with a wrong word on them: painted by the run, or in the photograph."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self.answers = lru_cache(maxsize=None)(self._answers)
        self.notes = lru_cache(maxsize=None)(self._notes)

    def _answers(self, dataset: str) -> PaintedAnswers:
        """Return the answers to a set's images with a word, with a blank note, and without either.

        Raises:
            NotApplicableError: the model consists of saved answers.
            DataError: an image cannot be read or is too small, or a class name cannot be painted.
        """
        if self._features.saved is not None:
            raise NotApplicableError(
                f"words on {dataset!r} are painted by the run: no answers to such images are saved"
            )
        settings = self._session.profile.typographic
        images = take_evenly(self._session.library.images(dataset), settings.images)
        painted = PaintedImages(images, settings.seed)
        encode, loaded = self._session.encoder.images, self._features.loaded
        word, blank = np.split(encode(loaded, painted), 2)
        made = f"words version {VERSION}, seed {settings.seed}"
        return PaintedAnswers(
            word=self._decided(images, word, made),
            blank=self._decided(images, blank, f"{made}, blank"),
            clean=self._decided(images, encode(loaded, images), ""),
            words=painted.words,
        )

    def _notes(self, dataset: str) -> Contrasts:
        """Return the cosines of photographs with the name of their object and with the word on the note, as in SCAM.

        Both go into the templates of the profile's prompts, as class names do.

        Raises:
            ConfigError: the set has no words on notes.
            NotApplicableError: the model has no text encoder.
        """
        self._features.require_texts("a choice between an object and a word")
        found = self._session.library.contrasts(dataset)
        if not isinstance(found, ContrastSet) or PHOTO not in found.groups:
            raise ConfigError(f"{dataset!r} has no words on notes, which the role 'attacked' is for")
        prompts = self._session.prompts
        return contrast(
            self._session.encoder.images(self._features.loaded, found.images),
            self._features.weights(tuple((name,) for name in found.texts), prompts),
            texts=found.texts,
            image_of=found.image_of,
            true_of=found.true_of,
            false_items=found.false_items,
            false_of=found.false_of,
            dataset=dataset,
            metric="typographic",
            kinds=found.kinds,
            samples=found.samples,
            scale=self._features.scale,
            groups=found.groups,
            provenance=self._features.provenance(found.fingerprint, prompts),
        )

    def _decided(self, images: ImageSet, features: Array, made: str) -> Decisions:
        """Return the decisions from (N, D) features; `made` is what was done to the images, part of their identity."""
        found = self._features.predictions(images, features)
        if made:
            data = combine_digests(found.provenance.data, made)
            found = replace(found, provenance=replace(found.provenance, data=data))
        return decide(found)
