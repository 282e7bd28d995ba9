"""Confidences of one model: as it is, after temperature scaling, and as pair probabilities."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal

from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.prompts.templates import PromptSet
from pytest_clip_robust.scoring.confidence import (
    Confidences,
    fit_temperature,
    halves,
    sigmoid_confidences,
    softmax_confidences,
)

Kind = Literal["softmax", "scaled", "sigmoid"]
KEPT = 256


class Calibration:
    """Confidences on the data sets of the profile."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._confidences = lru_cache(maxsize=KEPT)(self._compute)
        self._temperatures: dict[tuple[str, str], float] = {}

    def confidences(
        self, dataset: str, *, kind: Kind = "softmax", id_set: str = "", prompts: PromptSet | None = None
    ) -> Confidences:
        """Return the confidence of each answer and whether it is correct.

        kind: ``softmax`` is the softmax of the model's own logits. ``scaled`` divides logits by the temperature that
        fits one half of `id_set` best; the ID set itself is then represented by its other half. ``sigmoid`` is the pair
        probability of a sigmoid-trained model.
        """
        return self._confidences(dataset, kind, id_set, prompts or self._session.prompts)

    def _compute(self, dataset: str, kind: Kind, id_set: str, prompts: PromptSet) -> Confidences:
        predictions = self._features.zero_shot(dataset, prompts)
        if kind == "softmax":
            return softmax_confidences(predictions)
        if kind == "sigmoid":
            return sigmoid_confidences(predictions)
        held_out = predictions.rows(~halves(predictions)) if dataset == id_set else predictions
        found = softmax_confidences(held_out, temperature=self._temperature(id_set, prompts))
        fitted_on = self._features.provenance(self._session.library.images(id_set).fingerprint, prompts)
        return replace(found, provenance=found.provenance.merged_with(fitted_on))

    def _temperature(self, id_set: str, prompts: PromptSet) -> float:
        key = (id_set, prompts.digest)
        if key not in self._temperatures:
            known = self._features.zero_shot(id_set, prompts)
            self._temperatures[key] = fit_temperature(known.rows(halves(known)))
        return self._temperatures[key]
