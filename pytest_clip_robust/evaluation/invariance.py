"""Answers of one model to transformed images and changed prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.digest import combine_digests, digest
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.corruptions.transformations import VERSION
from pytest_clip_robust.corruptions.transformed_images import Combination, TransformedImages
from pytest_clip_robust.datasets.images.choice import take_evenly
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import NotApplicableError
from pytest_clip_robust.evaluation.classes import classes_of
from pytest_clip_robust.evaluation.combination_search import drawn_combinations, mildest_combination
from pytest_clip_robust.evaluation.features import Array, ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.names import STRENGTH_STEPS, TRANSFORMATIONS, TextChange, Transformation, strength_at
from pytest_clip_robust.prompts.changes import Prompts, changed_prompts
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.scoring.invariance import (
    BreakingSteps,
    ChangedAnswers,
    CombinedAnswers,
    Mildest,
    find_breaking_steps,
)
from pytest_clip_robust.scoring.zero_shot import zero_shot_logits


@dataclass(frozen=True)
class Asked:
    """The images of a set that are transformed, with the answers to them before."""

    images: ImageSet
    before: Decisions


class Invariance:
    """Answers to the images of a set under transformations, and under other wordings of the prompts.

    Every method raises a NotApplicableError if the model consists of saved answers, and a DataError if an image cannot
    be read.
    """

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._asked = lru_cache(maxsize=None)(self._ask_before)
        self._searched = lru_cache(maxsize=None)(self._search)
        self._answers: dict[str, tuple[int, float]] = {}

    def agreement(self, dataset: str) -> list[ChangedAnswers]:
        """Return the answers under every transformation, each at the middle of its strengths."""
        return [self.agreement_under(dataset, name) for name in TRANSFORMATIONS]

    def agreement_under(self, dataset: str, transformation: Transformation) -> ChangedAnswers:
        """Return the answers under one transformation at the middle of its strengths."""
        asked = self._asked(dataset)
        step = max(1, STRENGTH_STEPS[transformation] // 2)
        after, confidence = self._ask_all(asked.images, ((transformation, step),))
        return ChangedAnswers(
            change=transformation,
            before=asked.before,
            after=after,
            confidence=confidence,
            provenance=self._provenance(asked.before, f"{transformation} {strength_at(transformation, step)}"),
        )

    def breaking_steps(self, dataset: str, transformation: Transformation) -> BreakingSteps:
        """Return the mildest strength of one transformation at which each right answer changes.

        All transformations of a set are searched together, the first time that one is asked for.
        """
        asked = self._asked(dataset)
        steps, after, confidence = self._searched(dataset)[transformation]
        most = STRENGTH_STEPS[transformation]
        return BreakingSteps(
            transformation=transformation,
            strengths=tuple(strength_at(transformation, step) for step in range(1, most + 1)),
            before=asked.before,
            steps=steps,
            after=after,
            confidence=confidence,
            provenance=self._provenance(asked.before, f"{transformation} up to {strength_at(transformation, most)}"),
        )

    def combinations(self, dataset: str, *, known: Sequence[Combination] = ()) -> CombinedAnswers:
        """Return the answers under combinations of transformations, with the mildest that changes too many answers.

        known: combinations that an earlier run found, which the search tries first.
        """
        asked, settings = self._asked(dataset), self._session.profile.invariance
        drawn = drawn_combinations(settings.combinations, settings.seed)
        images, before = asked.images, asked.before

        def kept(combination: Combination) -> NDArray[np.bool_]:
            return np.asarray(self._ask_all(images, combination)[0] == before.answers)

        found = mildest_combination(
            lambda one: bool(kept(one).mean() < settings.agreement),
            known=known,
            most=settings.searched,
            seed=settings.seed,
        )
        return CombinedAnswers(
            before=before,
            combinations=drawn,
            kept=np.stack([kept(one) for one in drawn], axis=1),
            mildest=None if found.mildest is None else self._example(asked, found.mildest, kept(found.mildest)),
            tried=found.tried,
            demanded=settings.agreement,
            provenance=self._provenance(before, f"combinations {drawn}"),
        )

    def changed_prompts(self, dataset: str, change: TextChange) -> ChangedAnswers:
        """Return the answers after one change of the profile's prompts, or of the order of the classes.

        Raises:
            NotApplicableError: the model has no text encoder, or the change changes none of the prompts.
        """
        self._features.require_texts("a change of prompts")
        self._require_answers(dataset)
        asked = self._asked(dataset)
        prompts = Prompts(asked.images.prompt_names, self._session.prompts)
        changed = changed_prompts(change, prompts)
        if changed is None:
            raise NotApplicableError(f"{change} changes none of the prompts of {dataset!r}, so it cannot be measured")
        features = self._session.encoder.images(self._features.loaded, asked.images)
        logits = zero_shot_logits(
            features, self._features.weights(*changed), scale=self._features.scale, bias=self._features.bias
        )
        after, confidence = _top(logits)
        provenance = self._features.provenance(asked.images.fingerprint, self._session.prompts)
        texts = digest([change, changed.names, changed.templates.templates])
        return ChangedAnswers(
            change=change,
            before=decide(self._features.predictions(asked.images, features)),
            after=logits.shape[1] - 1 - after if change == "class_order" else after,
            confidence=confidence,
            provenance=replace(provenance, prompts=combine_digests(provenance.prompts, texts)),
        )

    def _require_answers(self, dataset: str) -> None:
        if self._features.saved is not None:
            raise NotApplicableError(f"images of {dataset!r} are changed by the run: no answers to them are saved")

    def _ask_before(self, dataset: str) -> Asked:
        self._require_answers(dataset)
        images = take_evenly(self._session.library.images(dataset), self._session.profile.invariance.images)
        clean = TransformedImages(images, [(i, ()) for i in range(len(images))], self._session.profile.invariance.seed)
        features = self._session.encoder.images(self._features.loaded, clean)
        return Asked(images, decide(self._features.predictions(images, features)))

    def _search(self, dataset: str) -> dict[Transformation, tuple[Ints, Ints, Floats]]:
        """Return steps, answers and confidences of the mildest changes of right answers, by transformation."""
        asked = self._asked(dataset)
        images, before = asked.images, asked.before
        assert before.answers is not None  # noqa: S101 - decided from logits
        items = [(name, row) for name in TRANSFORMATIONS for row in np.flatnonzero(before.correct).tolist()]

        def ask(which: Ints, steps: Ints) -> tuple[Ints, Floats]:
            chosen = zip((items[i] for i in which.tolist()), steps.tolist(), strict=True)
            return self._ask(images, [(row, ((name, step),)) for (name, row), step in chosen])

        def changes(which: Ints, steps: Ints) -> NDArray[np.bool_]:
            return np.asarray(ask(which, steps)[0] != before.labels[[items[i][1] for i in which.tolist()]])

        sizes = np.array([STRENGTH_STEPS[name] for name, _ in items], np.int64)
        steps = find_breaking_steps(sizes.tolist(), changes)
        broken = np.flatnonzero(steps <= sizes)
        found = {
            name: (np.full(len(images), STRENGTH_STEPS[name] + 1), before.answers.copy(), np.zeros(len(images)))
            for name in TRANSFORMATIONS
        }
        for i, step, answer, sure in zip(broken, steps[broken], *ask(broken, steps[broken]), strict=True):
            name, row = items[i]
            for column, value in zip(found[name], (step, answer, sure), strict=True):
                column[row] = value
        return found

    def _example(self, asked: Asked, combination: Combination, kept: NDArray[np.bool_]) -> Mildest:
        """Return a combination with the first image whose answer changes, a right one if there is one."""
        after, _ = self._ask_all(asked.images, combination)
        before, names = asked.before, asked.images.class_names
        assert before.answers is not None  # noqa: S101 - decided from logits
        row = int([*np.flatnonzero(~kept & before.correct), *np.flatnonzero(~kept)][0])
        return Mildest(
            combination=combination,
            kept=float(kept.mean()),
            sample=before.samples[row],
            before=names[before.answers[row]],
            after=names[after[row]],
        )

    def _ask_all(self, images: ImageSet, combination: Combination) -> tuple[Ints, Floats]:
        return self._ask(images, [(i, combination) for i in range(len(images))])

    def _ask(self, images: ImageSet, requests: Sequence[tuple[int, Combination]]) -> tuple[Ints, Floats]:
        """Return (M,) answers to M transformed images and their softmax probabilities; each is asked once."""
        made = TransformedImages(images, requests, self._session.profile.invariance.seed)
        keys = [f"{images.name}|{one}" for one in made.digests]
        new = [i for i, key in enumerate(keys) if key not in self._answers]
        if new:
            missing = TransformedImages(images, [requests[i] for i in new], made.seed)
            features: Array = self._session.encoder.images(self._features.loaded, missing)
            logits = self._features.logits_of(features, classes_of(images), self._session.prompts)
            found = zip(*(column.tolist() for column in _top(logits)), strict=True)
            self._answers |= dict(zip([keys[i] for i in new], found, strict=True))
        answers = [self._answers[key] for key in keys]
        return np.array([one for one, _ in answers], np.int64), np.array([one for _, one in answers], np.float64)

    def _provenance(self, before: Decisions, made: str) -> Provenance:
        seed = self._session.profile.invariance.seed
        data = combine_digests(before.provenance.data, f"transformations version {VERSION}, seed {seed}, {made}")
        return replace(before.provenance, data=data)


def _top(logits: Array) -> tuple[Ints, Floats]:
    """Return (N,) classes of the highest logits, and (N,) softmax probabilities of them."""
    top = logits.max(axis=1, keepdims=True)
    return logits.argmax(axis=1), 1 / np.exp(logits.astype(np.float64) - top).sum(axis=1)
