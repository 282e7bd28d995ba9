"""An EvaluatedModel answers a suite's questions about one model, encoding only what no one has encoded before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import IMAGENET, class_list
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.evaluation.correspondence import CorrespondenceEvaluation
from pytest_clip_robust.evaluation.corruptions import CorruptedEvaluation
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelKind
from pytest_clip_robust.prompts.templates import PromptSet
from pytest_clip_robust.properties import prompts
from pytest_clip_robust.scoring import cues, decisions, ood_scores, pairs, rankings
from pytest_clip_robust.scoring.confidence import (
    Confidences,
    fit_temperature,
    halves,
    sigmoid_confidences,
    softmax_confidences,
)
from pytest_clip_robust.scoring.cues import SIXTEEN, Aggregation, sixteen_way
from pytest_clip_robust.scoring.decisions import decide
from pytest_clip_robust.scoring.ood_scores import Scores, shared_classes
from pytest_clip_robust.scoring.zero_shot import zero_shot_logits, zero_shot_weights

LOGITS_KEPT = FEATURES_KEPT = 2**30
"""In bytes: the logits of 50,000 images and 1,000 classes are 200 MB, those of a small profile next to nothing."""

WEIGHTS_KEPT = 16
SUMMARIES_KEPT = 256
"""Scores and confidences are a number a sample."""

COMPOSITION, WORD_ORDER = "composition", "word_order"
"""The first parts of the metrics' ids."""

NEGLABEL = "neglabel"
NEGLABEL_PROMPTS = PromptSet("photo", ("a photo of a {}.",))
"""One template for ID and negative labels alike: eighty would make 170,000 texts of the built-in corpus."""

Confidence = Literal["softmax", "scaled", "sigmoid"]
CueDecision = Literal["direct", "imagenet_mean", "imagenet_sum", "imagenet_max"]
"""Among the set's own classes, or among ImageNet's 1,000 with the mean, sum or maximum of each class's members."""

AGGREGATIONS: Mapping[CueDecision, Aggregation] = {
    "imagenet_mean": "mean",
    "imagenet_sum": "sum",
    "imagenet_max": "max",
}


class EvaluatedModel:
    """One model, ready to be asked. `spec`, `scale` and `bias` are the model's own.

    Every question may raise a ClipRobustError: the set cannot be read or encoded, or nothing can be measured on it.
    """

    def __init__(self, loaded: LoadedModel, session: Session) -> None:
        self.spec = loaded.spec
        self.scale = float(loaded.encoder.scale)
        self.bias = float(loaded.encoder.bias)
        self._loaded = loaded
        self._session = session
        self._predictions = cached(LRUCache(LOGITS_KEPT, getsizeof=lambda one: one.logits.nbytes))(self._predict)
        self._features = cached(LRUCache(FEATURES_KEPT, getsizeof=lambda one: one.nbytes))(self._encode)
        self._weights = lru_cache(maxsize=WEIGHTS_KEPT)(self._build_weights)
        self._reliability = lru_cache(maxsize=SUMMARIES_KEPT)(self._assess)
        self._scores = lru_cache(maxsize=SUMMARIES_KEPT)(self._score)
        self._rankings = lru_cache(maxsize=SUMMARIES_KEPT)(self._rank)
        self._contrasts = lru_cache(maxsize=SUMMARIES_KEPT)(self._contrast)
        self._matches = lru_cache(maxsize=SUMMARIES_KEPT)(self._match)
        self._temperatures: dict[tuple[str, str], float] = {}
        self.corrupted = CorruptedEvaluation(loaded, session, predict=self._predictions_of, zero_shot=self.zero_shot)
        self.correspondence = CorrespondenceEvaluation(loaded, session, origin=self._origin)

    @property
    def compared_prompts(self) -> tuple[PromptSet, ...]:
        """The prompt sets that the profile compares."""
        return self._session.compared_prompts

    def zero_shot(self, dataset: str, *, prompts: PromptSet | None = None) -> Predictions:
        """Classify every image of `dataset` among its classes with `prompts`, by default the profile's."""
        return self._predictions(dataset, prompts or self._session.prompts)

    def image_features(self, dataset: str) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images, not normalised, in the set's order; not to be written to."""
        return self._features(dataset)

    def text_features(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the (len(texts), D) features of `texts`, not normalised."""
        return self._session.encode_texts(self._loaded, list(texts))

    def cue_answers(self, dataset: str, *, decision: CueDecision = "direct") -> cues.CueAnswers:
        """Answer a cue-conflict set, among its own classes or among ImageNet's 1,000, grouped to the public 16.

        An answer among the 16 that is none of the set's classes names neither shape nor texture.
        """
        direct = cues.answers_of(self.zero_shot(dataset))
        if decision == "direct":
            return direct
        if decision not in AGGREGATIONS:
            raise ConfigError(f"no cue decision {decision!r}{did_you_mean(decision, ('direct', *AGGREGATIONS))}")
        if not set(direct.class_names) <= set(SIXTEEN):
            raise ConfigError(
                f"{dataset!r} has {len(direct.class_names)} classes of its own; only the public 16 come from ImageNet"
            )
        names = tuple((name,) for name in class_list(IMAGENET).names)
        logits = self._logits(dataset, self._weights(names, self._session.prompts))
        place = {name: position for position, name in enumerate(direct.class_names)}
        of_sixteen = np.array([place.get(name, cues.NO_ANSWER) for name in SIXTEEN], np.int64)
        answers = of_sixteen[sixteen_way(logits, aggregation=AGGREGATIONS[decision])]
        return replace(direct, answers=answers, decision=decision)

    def reliability(
        self,
        dataset: str,
        *,
        confidence: Confidence = "softmax",
        id_set: str = "",
        prompts: PromptSet | None = None,
    ) -> Confidences:
        """Say how sure the model was of each answer, and whether it was right.

        ``scaled`` divides logits by the temperature that fits one half of `id_set` best; the ID set itself is then
        represented by its other half. ``sigmoid`` takes the pair probability that a sigmoid-trained model states.
        """
        return self._reliability(dataset, confidence, id_set, prompts or self._session.prompts)

    def ood_scores(self, score: str, dataset: str, *, id_set: str, prompts: PromptSet | None = None) -> Scores:
        """Score how much each image of `dataset` looks like the classes of `id_set`; `dataset` may be `id_set`.

        Scores that learn features learn them from one half of the ID set, which is then represented by the other.
        """
        return self._scores(score, dataset, id_set, prompts or self._session.prompts)

    def template_answers(self, dataset: str) -> decisions.TemplateAnswers:
        """Answer with each template of the profile's prompt set alone."""
        images, every = self._session.images(dataset), self._session.prompts
        alone = [PromptSet(every.name, (template,)) for template in every.templates]
        answers = [self._logits(dataset, self._weights(images.prompt_names, one)).argmax(axis=1) for one in alone]
        return decisions.TemplateAnswers(
            dataset=dataset,
            answers=np.stack(answers, axis=1),
            labels=images.labels,
            samples=images.samples,
            provenance=self._provenance(images, every),
        )

    def accuracy_by_prompts(self, dataset: str, *, quantity: str = "top1") -> prompts.ByPromptSet:
        """Compare top-1 accuracy under the prompt sets that the profile compares."""
        correct = {one.name: decide(self.zero_shot(dataset, prompts=one)).correct for one in self.compared_prompts}
        return prompts.accuracy_by_prompts(correct, **self._about(quantity, dataset))

    def ece_by_prompts(self, dataset: str) -> prompts.ByPromptSet:
        """Compare the expected calibration error under the prompt sets that the profile compares."""
        found = {one.name: self.reliability(dataset, prompts=one) for one in self.compared_prompts}
        return prompts.ece_by_prompts(found, **self._about("ece_15_equal_width", dataset))

    def auroc_by_prompts(self, score: str, dataset: str, *, id_set: str) -> prompts.ByPromptSet:
        """Compare the AUROC of a score under the prompt sets that the profile compares."""
        found = {
            one.name: (
                self.ood_scores(score, id_set, id_set=id_set, prompts=one),
                self.ood_scores(score, dataset, id_set=id_set, prompts=one),
            )
            for one in self.compared_prompts
        }
        return prompts.auroc_by_prompts(found, **self._about(f"auroc_{score}", dataset))

    def captioned(self, dataset: str) -> rankings.CaptionedImages:
        """Give the features of a set's images and captions, and which belong together."""
        found = self._session.captions(dataset)
        return rankings.CaptionedImages(
            dataset=dataset,
            images=self._session.encode_images(self._loaded, found.images),
            captions=self.text_features(found.captions),
            pairs=found.pairs,
            image_names=found.images.samples,
            texts=found.captions,
            cut=self._session.count_truncated(self._loaded, found.captions, dataset),
            scale=self.scale,
            provenance=self._origin(found.fingerprint),
        )

    def ranking(self, dataset: str, way: rankings.Way) -> rankings.Ranking:
        """Rank a set's captions for every image, or its images for every caption."""
        return self._rankings(dataset)[way]

    def contrasts(self, dataset: str) -> pairs.Contrasts:
        """Compare true captions with false ones that differ in a detail.

        Raises:
            ConfigError: the set has pairs of images with pairs of captions instead: ask for its `matches`.
        """
        return self._contrasts(dataset, COMPOSITION)

    def matches(self, dataset: str) -> pairs.Matches:
        """Compare two images and two captions an item, as Winoground has them.

        Raises:
            ConfigError: the set has no such items.
        """
        return self._matches(dataset)

    def word_order(self, dataset: str) -> pairs.Contrasts:
        """Compare the first caption of every image with the same words in other orders."""
        return self._contrasts(dataset, WORD_ORDER)

    def has_matches(self, dataset: str) -> bool:
        """Tell whether a set has pairs of images with pairs of captions, rather than true and false captions."""
        return isinstance(self._session.contrasts(dataset), MatchSet)

    def _encode(self, dataset: str) -> NDArray[np.float32]:
        found = self._session.encode_images(self._loaded, self._session.images(dataset))
        found.flags.writeable = False  # it is handed out again
        return found

    def _predict(self, dataset: str, prompts: PromptSet) -> Predictions:
        return self._predictions_of(self._session.images(dataset), self.image_features(dataset), prompts)

    def _predictions_of(
        self, images: ImageSet, features: NDArray[np.float32], prompts: PromptSet | None = None
    ) -> Predictions:
        prompts = prompts or self._session.prompts
        weights = self._weights(images.prompt_names, prompts)
        return Predictions(
            dataset=images.name,
            logits=zero_shot_logits(features, weights, scale=self.scale, bias=self.bias),
            labels=images.labels,
            class_names=images.class_names,
            class_ids=images.class_ids,
            samples=images.samples,
            annotations=images.annotations,
            textures=images.textures,
            scale=self.scale,
            bias=self.bias,
            provenance=self._provenance(images, prompts),
        )

    def _build_weights(self, names: tuple[tuple[str, ...], ...], prompts: PromptSet) -> NDArray[np.float32]:
        """Return the (C, D) unit weights of classes that have one name or several."""
        texts = prompts.texts([name for of_class in names for name in of_class])
        sizes = [len(of_class) * len(prompts.templates) for of_class in names]
        return zero_shot_weights(self.text_features(texts), len(names), sizes=sizes)

    def _logits(self, dataset: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return zero_shot_logits(self.image_features(dataset), weights, scale=self.scale, bias=self.bias)

    def _assess(self, dataset: str, confidence: Confidence, id_set: str, prompts: PromptSet) -> Confidences:
        predictions = self.zero_shot(dataset, prompts=prompts)
        if confidence == "softmax":
            return softmax_confidences(predictions)
        if confidence == "sigmoid":
            return sigmoid_confidences(predictions)
        key = (id_set, prompts.digest)
        if key not in self._temperatures:
            known = self.zero_shot(id_set, prompts=prompts)
            self._temperatures[key] = fit_temperature(known.rows(halves(known)))
        held_out = predictions.rows(~halves(predictions)) if dataset == id_set else predictions
        found = softmax_confidences(held_out, temperature=self._temperatures[key])
        fitted_on = self._provenance(self._session.images(id_set), prompts)
        return replace(found, provenance=found.provenance.merged_with(fitted_on))

    def _score(self, score: str, dataset: str, id_set: str, prompts: PromptSet) -> Scores:
        if score not in ood_scores.NAMES:
            raise ConfigError(f"no OOD score {score!r}{did_you_mean(score, ood_scores.NAMES)}")
        if score == NEGLABEL:
            prompts = NEGLABEL_PROMPTS
        images, known = self._session.images(dataset), self._session.images(id_set)
        outside = dataset != id_set
        if outside:
            self._warn_of_shared_classes(images, known)
        fit = halves(self.zero_shot(id_set)) if score in ood_scores.OF_FEATURES else np.zeros(len(known), np.bool_)
        kept = np.ones(len(images), np.bool_) if outside else ~fit
        if score in ood_scores.OF_FEATURES:
            values = self._score_features(score, dataset, id_set, fit)
        else:
            values = self._score_logits(score, dataset, known, prompts)
        origin = self._provenance(images, prompts)
        if outside:
            origin = replace(origin, data=combine_digests(known.fingerprint, images.fingerprint))
        if score == NEGLABEL:
            origin = replace(origin, prompts=combine_digests(prompts.digest, self._session.corpus.digest))
        return Scores(
            dataset=dataset,
            score=score,
            values=values[kept],
            samples=[images.samples[i] for i in np.flatnonzero(kept).tolist()],
            classes=images.labels[kept] if len(images.class_names) > 1 else None,
            fitted_on=int(fit.sum()),
            provenance=origin,
        )

    def _score_features(self, score: str, dataset: str, id_set: str, fit: NDArray[np.bool_]) -> NDArray[np.float64]:
        features, bank = self.image_features(dataset), self.image_features(id_set)[fit]
        if score == "mahalanobis":
            return ood_scores.mahalanobis(features, bank, self._session.images(id_set).labels[fit])
        return ood_scores.nearest_neighbours(features, bank)

    def _score_logits(self, score: str, dataset: str, known: ImageSet, prompts: PromptSet) -> NDArray[np.float64]:
        weights = self._weights(known.prompt_names, prompts)
        logits = self._logits(dataset, weights)
        if score != NEGLABEL:
            return ood_scores.OF_LOGITS[score](logits, self.scale)
        labels = self._session.corpus.without(name for names in known.prompt_names for name in names)
        candidates = self._weights(tuple((label,) for label in labels), prompts)
        negatives = candidates[ood_scores.choose_negatives(weights, candidates)]
        return ood_scores.negative_labels(logits, self._logits(dataset, negatives))

    def _warn_of_shared_classes(self, images: ImageSet, known: ImageSet) -> None:
        ours = [*known.class_ids, *(name for names in known.prompt_names for name in names)]
        shared = [
            name
            for one, name in zip(images.class_ids, images.class_names, strict=True)
            if shared_classes(ours, [one, name])
        ]
        if shared:
            self._session.notice(
                f"OOD set {images.name!r} has {len(shared)} classes of the ID set {known.name!r}, counted as OOD "
                f"all the same: {', '.join(shared[:10])}{', ...' if len(shared) > 10 else ''}"
            )

    def _rank(self, dataset: str) -> dict[rankings.Way, rankings.Ranking]:
        return rankings.rank(self.captioned(dataset))

    def _contrast(self, dataset: str, metric: str) -> pairs.Contrasts:
        if metric == WORD_ORDER:
            found: ContrastSet | MatchSet = self._session.word_order(dataset)
        else:
            found = self._session.contrasts(dataset)
        if isinstance(found, MatchSet):
            raise ConfigError(f"{dataset!r} has pairs of images with pairs of captions; ask for its matches")
        return pairs.contrast(
            self._session.encode_images(self._loaded, found.images),
            self.text_features(found.texts),
            texts=found.texts,
            image_of=found.image_of,
            true_of=found.true_of,
            false_items=found.false_items,
            false_of=found.false_of,
            dataset=dataset,
            metric=metric,
            kinds=found.kinds,
            samples=found.samples,
            text_only=self._session.text_only(found),
            scale=self.scale,
            cut=self._session.count_truncated(self._loaded, found.texts, dataset),
            provenance=self._origin(found.fingerprint),
        )

    def _match(self, dataset: str) -> pairs.Matches:
        found = self._session.contrasts(dataset)
        if not isinstance(found, MatchSet):
            raise ConfigError(f"{dataset!r} has no pairs of images with pairs of captions; ask for its contrasts")
        return pairs.match(
            self._session.encode_images(self._loaded, found.images),
            self.text_features(found.texts),
            image_of=found.image_of,
            text_of=found.text_of,
            dataset=dataset,
            kinds=found.kinds,
            samples=found.samples,
            cut=self._session.count_truncated(self._loaded, found.texts, dataset),
            provenance=self._origin(found.fingerprint),
        )

    def _about(self, quantity: str, dataset: str) -> dict[str, object]:
        sets = self.compared_prompts
        images = self._session.images(dataset)
        origin = self._provenance(images, self._session.prompts)
        return {
            "quantity": quantity,
            "dataset": dataset,
            "templates": tuple(len(one.templates) for one in sets),
            "provenance": replace(origin, prompts=combine_digests(*(one.digest for one in sets))),
        }

    def _provenance(self, images: ImageSet, prompts: PromptSet) -> Provenance:
        return replace(self._origin(images.fingerprint), prompts=prompts.digest)

    def _origin(self, data: str) -> Provenance:
        return Provenance(
            model=self.spec.label,
            weights=self._loaded.weights,
            # A Python model's preprocessing is part of its identity, which is another for every checkpoint.
            preprocess="" if self.spec.kind is ModelKind.PYTHON else self._loaded.preprocess,
            precision=self._loaded.precision,
            data=data,
        )
