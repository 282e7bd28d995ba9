"""Features and logits of one model, from its text encoder or from a head of its own, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

import numpy as np
from cachetools import cached
from numpy.typing import NDArray

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.core.predictions import Predictions, TopAnswers
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import NotApplicableError
from pytest_clip_robust.evaluation.classes import Classes, classes_of
from pytest_clip_robust.evaluation.heads import Head
from pytest_clip_robust.evaluation.newest_kept import NewestKept
from pytest_clip_robust.evaluation.saved_answers import SavedAnswers
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import KnowsItsContext, LoadedModel
from pytest_clip_robust.models.saved_predictions import SavedPredictions
from pytest_clip_robust.prompts.templates import PromptSet
from pytest_clip_robust.scoring.zero_shot import zero_shot_logits, zero_shot_weights
from pytest_clip_robust.system.text import printable

LOGITS_KEPT = FEATURES_KEPT = 2**30
"""In bytes; see `NewestKept`. The logits of 50,000 images and 1,000 classes are 200 MB."""

WEIGHTS_KEPT = 16

Array = NDArray[np.float32]


class ModelFeatures:
    """The features of one loaded model, with the class weights, logits and predictions computed from them.

    head: the model's own, if it has one: its logits take the place of those of the zero-shot classifier.

    Every method raises a ClipRobustError if a set cannot be read or encoded.
    """

    def __init__(self, loaded: LoadedModel, session: Session) -> None:
        self.loaded = loaded
        self.scale, self.bias = loaded.scale, loaded.bias
        self._session = session
        self._predictions = cached(NewestKept(LOGITS_KEPT, size_of=lambda one: one.logits.nbytes))(self._predict)
        self._features = cached(NewestKept(FEATURES_KEPT, size_of=lambda one: one.nbytes))(self._encode)
        self.weights = lru_cache(maxsize=WEIGHTS_KEPT)(self._weights)

    def zero_shot(self, dataset: str, prompts: PromptSet | None = None) -> Predictions:
        """Return the predictions on a set of the profile: zero-shot, by default with its prompts, or of the head."""
        return self._predictions(dataset, prompts or self._session.prompts)

    def images(self, dataset: str) -> Array:
        """Return the (N, D) features of a set's images, in the set's order, not normalised and read-only."""
        return self._features(dataset)

    @cached_property
    def head(self) -> Head | None:
        """The model's own head, or None.

        Raises:
            DataError: its list of classes does not exist, or has another length than its logits.
        """
        head = self.loaded.head
        return None if head is None else Head(head, self.loaded.spec.label)

    @cached_property
    def saved(self) -> SavedAnswers | None:
        """The model's saved answers, or None if it is a model that answers now.

        Raises:
            DataError: their list of classes does not exist.
        """
        encoder, label = self.loaded.encoder, self.loaded.spec.label
        return SavedAnswers(encoder, label) if isinstance(encoder, SavedPredictions) else None

    def knows(self, classes: Classes) -> bool:
        """Return whether the model can answer among `classes`: a zero-shot classifier can among any."""
        if self.saved is not None:
            return self.saved.knows(classes)
        return self.head is None or self.head.classes.knows(classes)

    def require_texts(self, purpose: str) -> None:
        """Check that the model has a text encoder, before anything is encoded; the message names the `purpose`.

        Raises:
            NotApplicableError: it has none.
        """
        if not self.loaded.has_texts:
            raise NotApplicableError(f"{self.loaded.spec.label} has no text encoder, which {purpose} needs")

    def texts(self, texts: Iterable[str]) -> Array:
        """Return the (len(texts), D) features of `texts`, not normalised."""
        return self._session.encoder.texts(self.loaded, list(texts))

    def weighted_logits(self, dataset: str, weights: Array) -> Array:
        """Return the (N, C) logits of a set's images for (C, D) class weights."""
        return zero_shot_logits(self.images(dataset), weights, scale=self.scale, bias=self.bias)

    def logits(self, dataset: str, classes: Classes, prompts: PromptSet) -> Array:
        """Return the (N, C) logits of a set's images for C classes, of the zero-shot classifier or of the head."""
        if self.saved is not None:
            return self.saved.logits(self._session.library.images(dataset), classes)
        return self.logits_of(self.images(dataset), classes, prompts)

    def predictions(self, images: ImageSet, features: Array, prompts: PromptSet | None = None) -> Predictions:
        """Return the predictions for `images` with (N, D) `features`."""
        prompts = prompts or self._session.prompts
        return self._predicted(images, self.logits_of(features, classes_of(images), prompts), prompts)

    def saved_predictions(self, images: ImageSet) -> Predictions:
        """Return the saved answers to `images`."""
        assert self.saved is not None  # noqa: S101 - narrows the type; callers checked it
        top = self.saved.top(images)
        if top is not None:
            return self.answered(images, top)
        return self._predicted(images, self.saved.logits(images, classes_of(images)), self._session.prompts)

    def answered(self, images: ImageSet, top: TopAnswers) -> Predictions:
        """Return predictions for `images` of which only the answers are known."""
        unknown = np.broadcast_to(np.float32(np.nan), (len(images), len(images.class_ids)))
        return self._predicted(images, unknown, self._session.prompts, top=top)

    def _predicted(
        self, images: ImageSet, logits: Array, prompts: PromptSet, *, top: TopAnswers | None = None
    ) -> Predictions:
        return Predictions(
            dataset=images.name,
            logits=logits,
            labels=images.labels,
            class_names=images.class_names,
            class_ids=images.class_ids,
            samples=images.samples,
            annotations=images.annotations,
            textures=images.textures,
            scale=self.scale,
            bias=self.bias,
            top=top,
            provenance=self.provenance(images.fingerprint, prompts),
        )

    def logits_of(self, features: Array, classes: Classes, prompts: PromptSet) -> Array:
        """Return the (N, C) logits of (N, D) features for C classes, of the zero-shot classifier or of the head."""
        if self.head is not None:
            return self.head.logits(features, classes)
        return zero_shot_logits(features, self.weights(classes.names, prompts), scale=self.scale, bias=self.bias)

    def provenance(self, data: str, prompts: PromptSet | None = None) -> Provenance:
        """Return the provenance of numbers of this model on `data`, a fingerprint; a head knows no prompts."""
        return Provenance(
            model=self.loaded.spec.label,
            weights=self.loaded.weights,
            preprocess=self.loaded.separate_preprocess,
            precision=self.loaded.precision,
            data=data,
            prompts="" if prompts is None or not self.loaded.has_texts else prompts.digest,
        )

    def count_truncated(self, texts: Sequence[str], dataset: str) -> int:
        """Return the number of texts that are longer than the model's context, with a notice if there are any."""
        label, encoder = self.loaded.spec.label, self.loaded.encoder
        if not isinstance(encoder, KnowsItsContext):
            self._session.notice(
                f"{label}: the number of truncated captions is unknown; its encoder has no method too_long"
            )
            return 0
        long = [text for text, too_long in zip(texts, encoder.too_long(list(texts)), strict=True) if too_long]
        if long:
            self._session.notice(
                f"{label}: {len(long)} of {len(texts)} captions of {dataset!r} are longer than its context "
                f"and were truncated, such as {printable(long[0][:60])!r}"
            )
        return len(long)

    def _encode(self, dataset: str) -> Array:
        found = self._session.encoder.images(self.loaded, self._session.library.images(dataset))
        found.flags.writeable = False  # callers share it
        return found

    def _predict(self, dataset: str, prompts: PromptSet) -> Predictions:
        images = self._session.library.images(dataset)
        if self.saved is not None:
            return self.saved_predictions(images)
        return self.predictions(images, self.images(dataset), prompts)

    def _weights(self, names: tuple[tuple[str, ...], ...], prompts: PromptSet) -> Array:
        """Return the (C, D) unit weights of C classes that have one or more names each."""
        texts = prompts.texts([name for of_class in names for name in of_class])
        sizes = [len(of_class) * len(prompts.templates) for of_class in names]
        return zero_shot_weights(self.texts(texts), len(names), sizes=sizes)
