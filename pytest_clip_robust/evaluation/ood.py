"""OOD scores of one model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import ConfigError, NotApplicableError, did_you_mean
from pytest_clip_robust.evaluation.classes import classes_of
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.names import OOD_SCORES
from pytest_clip_robust.prompts.templates import PromptSet
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import halves
from pytest_clip_robust.scoring.ood_scores import Scores, shared_classes

NEGLABEL = "neglabel"
NEGLABEL_PROMPTS = PromptSet("photo", ("a photo of a {}.",))
"""One template for ID and negative labels: eighty would make 170,000 texts of the built-in corpus."""

OF_TEXTS = (NEGLABEL, "mcm")
"""Scores that are defined by the cosines of images and texts."""

NOT_OF_PROBABILITIES = ("energy", "max_logit")
"""Scores that depend on what a softmax removes."""

KEPT = 256
NAMES_SHOWN = 10


class OodDetection:
    """OOD scores on the data sets of the profile."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._scores = lru_cache(maxsize=KEPT)(self._compute)

    def scores(self, score: str, dataset: str, *, id_set: str, prompts: PromptSet | None = None) -> Scores:
        """Return how much each image of `dataset` resembles the classes of `id_set`; `dataset` can be `id_set`.

        score: one of `names.OOD_SCORES`. Scores of features are fitted on one half of the ID set, which is then
        represented by its other half.

        Raises:
            ConfigError: the score is unknown.
            NotApplicableError: the score needs a text encoder, and the model has none.
        """
        return self._scores(score, dataset, id_set, prompts or self._session.prompts)

    def _compute(self, score: str, dataset: str, id_set: str, prompts: PromptSet) -> Scores:
        if score not in OOD_SCORES:
            raise ConfigError(f"no OOD score {score!r}{did_you_mean(score, OOD_SCORES)}")
        if score in OF_TEXTS:
            self._features.require_texts(f"the OOD score {score!r}")
        if score == NEGLABEL:
            prompts = NEGLABEL_PROMPTS
        library = self._session.library
        images, known = library.images(dataset), library.images(id_set)
        outside = dataset != id_set
        if outside:
            self._warn_of_shared_classes(images, known)
        fitted = score in ood_scores.OF_FEATURES
        fit = halves(self._features.zero_shot(id_set)) if fitted else np.zeros(len(known), np.bool_)
        if fitted:
            self._warn_of_unknown_classes(known, fit)
        kept = np.ones(len(images), np.bool_) if outside else ~fit
        values = (
            self._of_features(score, dataset, known, fit) if fitted else self._of_logits(score, images, known, prompts)
        )
        provenance = self._features.provenance(images.fingerprint, prompts)
        if outside:
            provenance = replace(provenance, data=combine_digests(known.fingerprint, images.fingerprint))
        if score == NEGLABEL:
            provenance = replace(provenance, prompts=combine_digests(prompts.digest, self._session.corpus.digest))
        return Scores(
            dataset=dataset,
            score=score,
            values=values[kept],
            samples=[images.samples[i] for i in np.flatnonzero(kept).tolist()],
            classes=images.labels[kept] if len(images.class_names) > 1 else None,
            fitted_on=int(fit.sum()),
            provenance=provenance,
        )

    def _of_features(self, score: str, dataset: str, known: ImageSet, fit: NDArray[np.bool_]) -> Floats:
        features, bank = self._features.images(dataset), self._features.images(known.name)[fit]
        if score == "mahalanobis":
            return ood_scores.mahalanobis(features, bank, known.labels[fit])
        return ood_scores.nearest_neighbours(features, bank)

    def _of_logits(self, score: str, images: ImageSet, known: ImageSet, prompts: PromptSet) -> Floats:
        saved = self._features.saved
        if saved is not None and score in NOT_OF_PROBABILITIES and saved.normalised:
            raise NotApplicableError(f"the OOD score {score!r} needs logits, and only probabilities are saved")
        if saved is not None and score == "msp" and (top := saved.top_among(images, classes_of(known))) is not None:
            return top
        logits = self._features.logits(images.name, classes_of(known), prompts)
        if score != NEGLABEL:
            return ood_scores.OF_LOGITS[score](logits, self._features.scale)
        labels = self._session.corpus.without(name for names in known.prompt_names for name in names)
        candidates = self._features.weights(tuple((label,) for label in labels), prompts)
        weights = self._features.weights(known.prompt_names, prompts)
        negatives = candidates[ood_scores.choose_negatives(weights, candidates)]
        return ood_scores.negative_labels(logits, self._features.weighted_logits(images.name, negatives))

    def _warn_of_shared_classes(self, images: ImageSet, known: ImageSet) -> None:
        ours = [*known.class_ids, *(name for names in known.prompt_names for name in names)]
        shared = [
            name
            for one, name in zip(images.class_ids, images.class_names, strict=True)
            if shared_classes(ours, [one, name])
        ]
        if shared:
            self._session.notice(
                f"OOD set {images.name!r} has {len(shared)} classes of the ID set {known.name!r}, which count as OOD "
                f"nevertheless: {', '.join(shared[:NAMES_SHOWN])}{', ...' if len(shared) > NAMES_SHOWN else ''}"
            )

    def _warn_of_unknown_classes(self, known: ImageSet, fit: NDArray[np.bool_]) -> None:
        measured, fitted = np.unique(known.labels[~fit]), np.unique(known.labels[fit])
        absent = np.setdiff1d(measured, fitted)
        if len(absent):
            scores = " and ".join(ood_scores.OF_FEATURES)
            self._session.notice(
                f"ID set {known.name!r}: {scores} are fitted on one half, which has no image of {len(absent)} of "
                f"{len(measured)} measured classes, such as {known.class_names[absent[0]]!r}, so that these look OOD; "
                "give at least 2 images per class, or leave the scores out with ood.scores"
            )
