"""Captioned images, rankings and comparisons of captions by one model."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.names import PHOTO, SUGARCREPE_PP
from pytest_clip_robust.scoring.pairs import Contrasts, Matches, Paraphrases, contrast, match, paraphrase
from pytest_clip_robust.scoring.rankings import CaptionedImages, Ranking, Way, rank

COMPOSITION, WORD_ORDER = "composition", "word_order"
"""The first parts of the metrics' ids."""

KEPT = 64


class Retrieval:
    """Captioned images and their ranks, in both directions."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._rankings = lru_cache(maxsize=KEPT)(self._rank)

    def captioned(self, dataset: str) -> CaptionedImages:
        """Return the features of a set's images and captions, and the pairs that belong together."""
        self._features.require_texts("every property of captions")
        found = self._session.library.captions(dataset)
        return CaptionedImages(
            dataset=dataset,
            images=self._session.encoder.images(self._features.loaded, found.images),
            captions=self._features.texts(found.captions),
            pairs=found.pairs,
            image_names=found.images.samples,
            texts=found.captions,
            truncated=self._features.count_truncated(found.captions, dataset),
            scale=self._features.scale,
            provenance=self._features.provenance(found.fingerprint),
        )

    def ranking(self, dataset: str, way: Way) -> Ranking:
        """Return the ranks of a set's captions for each image, or of its images for each caption."""
        return self._rankings(dataset)[way]

    def _rank(self, dataset: str) -> dict[Way, Ranking]:
        return rank(self.captioned(dataset))


class Composition:
    """True captions compared with false ones, and pairs of images with pairs of captions."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._contrasts = lru_cache(maxsize=KEPT)(self._contrast)
        self._matches = lru_cache(maxsize=KEPT)(self._match)

    def has_matches(self, dataset: str) -> bool:
        """Return whether a set has pairs of images with pairs of captions, rather than true and false captions."""
        return isinstance(self._session.library.contrasts(dataset), MatchSet)

    def contrasts(self, dataset: str) -> Contrasts:
        """Return the cosines of true captions and of false ones that differ in a detail.

        Raises:
            ConfigError: the set has pairs of images with pairs of captions; use `matches`.
        """
        return self._contrasts(dataset, COMPOSITION)

    def word_order(self, dataset: str) -> Contrasts:
        """Return the cosines of each image's first caption and of the same words in other orders."""
        return self._contrasts(dataset, WORD_ORDER)

    def matches(self, dataset: str) -> Matches:
        """Return the cosines of two images with two captions per item, as in Winoground.

        Raises:
            ConfigError: the set has no such items; use `contrasts`.
        """
        return self._matches(dataset)

    def paraphrases(self, dataset: str) -> Paraphrases:
        """Return the cosines between an image's two true captions and its false one, as in SugarCrepe++.

        Raises:
            ConfigError: the set has no second true captions.
        """
        self._features.require_texts("every property of captions")
        found = self._session.library.contrasts(dataset)
        if not isinstance(found, ContrastSet) or SUGARCREPE_PP not in found.groups:
            raise ConfigError(f"{dataset!r} has no second true captions; use its contrasts or matches")
        # The two items of a triplet follow each other.
        first, second = (np.arange(side, len(found.samples), 2) for side in (0, 1))
        return paraphrase(
            self._features.texts(found.texts),
            triplets=np.stack([found.true_of[first], found.true_of[second], found.false_of[first]], axis=1),
            dataset=dataset,
            images=found.image_of[first],
            kinds=[found.kinds[i] for i in first.tolist()],
            samples=[found.samples[i] for i in first.tolist()],
            truncated=self._features.count_truncated(found.texts, dataset),
            provenance=self._features.provenance(found.fingerprint),
        )

    def _contrast(self, dataset: str, metric: str) -> Contrasts:
        self._features.require_texts("every property of captions")
        library = self._session.library
        found: ContrastSet | MatchSet
        found = library.word_order(dataset) if metric == WORD_ORDER else library.contrasts(dataset)
        if isinstance(found, MatchSet):
            raise ConfigError(f"{dataset!r} has pairs of images with pairs of captions; use its matches")
        if PHOTO in found.groups:
            raise ConfigError(f"{dataset!r} has words on notes and no captions; give it the role 'attacked'")
        return contrast(
            self._session.encoder.images(self._features.loaded, found.images),
            self._features.texts(found.texts),
            texts=found.texts,
            image_of=found.image_of,
            true_of=found.true_of,
            false_items=found.false_items,
            false_of=found.false_of,
            dataset=dataset,
            metric=metric,
            kinds=found.kinds,
            samples=found.samples,
            text_only=library.text_only(found),
            scale=self._features.scale,
            truncated=self._features.count_truncated(found.texts, dataset),
            groups=found.groups,
            provenance=self._features.provenance(found.fingerprint),
        )

    def _match(self, dataset: str) -> Matches:
        self._features.require_texts("every property of captions")
        found = self._session.library.contrasts(dataset)
        if not isinstance(found, MatchSet):
            raise ConfigError(f"{dataset!r} has no pairs of images with pairs of captions; use its contrasts")
        return match(
            self._session.encoder.images(self._features.loaded, found.images),
            self._features.texts(found.texts),
            image_of=found.image_of,
            text_of=found.text_of,
            dataset=dataset,
            kinds=found.kinds,
            samples=found.samples,
            truncated=self._features.count_truncated(found.texts, dataset),
            provenance=self._features.provenance(found.fingerprint),
        )
