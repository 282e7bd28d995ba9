"""Answers of one model under single templates and under several prompt sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.evaluation.calibration import Calibration
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.ood import OodDetection
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.prompts.templates import PromptSet
from pytest_clip_robust.scoring.confidence import Confidences
from pytest_clip_robust.scoring.decisions import Decisions, TemplateAnswers, decide
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.scoring.prompted import ByPrompts

Answers = TypeVar("Answers")


class PromptSensitivity:
    """Answers on the data sets of the profile under the prompt sets that the profile compares.

    compared: those prompt sets; fewer than two cannot be compared.

    Every method raises a NotApplicableError for a model without a text encoder, whose answers depend on no prompt.
    """

    def __init__(
        self, features: ModelFeatures, session: Session, *, calibration: Calibration, ood: OodDetection
    ) -> None:
        self._features, self._session = features, session
        self._calibration, self._ood = calibration, ood

    @property
    def compared(self) -> tuple[PromptSet, ...]:
        """The prompt sets that the profile compares."""
        return self._session.compared_prompts

    def template_answers(self, dataset: str) -> TemplateAnswers:
        """Return the answers with each template of the profile's prompt set alone."""
        self._features.require_texts("every property of prompts")
        images, prompts = self._session.library.images(dataset), self._session.prompts
        single = [PromptSet(prompts.name, (template,)) for template in prompts.templates]
        weights = [self._features.weights(images.prompt_names, one) for one in single]
        return TemplateAnswers(
            dataset=dataset,
            answers=np.stack([self._features.weighted_logits(dataset, one).argmax(axis=1) for one in weights], axis=1),
            labels=images.labels,
            samples=images.samples,
            provenance=self._features.provenance(images.fingerprint, prompts),
        )

    def decisions(self, dataset: str) -> ByPrompts[Decisions]:
        """Return the correct and wrong answers under each prompt set."""
        return self._by_prompts(dataset, lambda prompts: decide(self._features.zero_shot(dataset, prompts)))

    def confidences(self, dataset: str) -> ByPrompts[Confidences]:
        """Return the confidences under each prompt set."""
        return self._by_prompts(dataset, lambda prompts: self._calibration.confidences(dataset, prompts=prompts))

    def ood_scores(self, score: str, dataset: str, *, id_set: str) -> ByPrompts[tuple[Scores, Scores]]:
        """Return the OOD scores of `id_set` and of `dataset` under each prompt set."""

        def both(prompts: PromptSet) -> tuple[Scores, Scores]:
            inside = self._ood.scores(score, id_set, id_set=id_set, prompts=prompts)
            return inside, self._ood.scores(score, dataset, id_set=id_set, prompts=prompts)

        return self._by_prompts(dataset, both)

    def _by_prompts(self, dataset: str, ask: Callable[[PromptSet], Answers]) -> ByPrompts[Answers]:
        self._features.require_texts("every property of prompts")
        provenance = self._features.provenance(self._session.library.images(dataset).fingerprint)
        return ByPrompts(
            dataset=dataset,
            answers={one.name: ask(one) for one in self.compared},
            templates=tuple(len(one.templates) for one in self.compared),
            provenance=replace(provenance, prompts=combine_digests(*(one.digest for one in self.compared))),
        )
