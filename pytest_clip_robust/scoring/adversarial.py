"""Answers of one model to images that were changed on purpose, within a budget, so that its answer changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedAnswers:
    """The answers to N images without and with an attack, at S budgets.

    budgets: S ascending ones, in 1/255 of the range of a pixel. steps: of gradient per attack.
    labels: (N,) true classes; clean: (N,) answers without an attack. answers: (S, N) answers under attack, and their
    softmax probabilities `confidence` (S, N). What fits into a budget fits into every larger one, so an answer that is
    wrong at one budget is wrong at the larger ones.

    Raises:
        MeasurementError: no image or budget is given, shapes disagree, budgets do not ascend, or a wrong answer is
            right at a larger budget.
    """

    dataset: str
    budgets: tuple[float, ...]
    steps: int
    labels: Ints
    clean: Ints
    answers: Ints
    confidence: Floats
    class_names: tuple[str, ...]
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        shape = (len(self.budgets), len(self.labels))
        if not self.answers.size or any(low >= high for low, high in pairwise(self.budgets)):
            raise MeasurementError(
                f"attacks on {self.dataset!r}: budgets {shown(self.budgets)}; expected ascending ones, with answers"
            )
        if self.answers.shape != shape or self.confidence.shape != shape or self.clean.shape != self.labels.shape:
            raise MeasurementError(
                f"attacks on {self.dataset!r}: answers of shape {self.answers.shape}; expected {shape}, with as many "
                "confidences, and a clean answer to each image"
            )
        right = self.answers == self.labels
        if (right[1:] & ~right[:-1]).any() or (right[0] & (self.clean != self.labels)).any():
            raise MeasurementError(f"attacks on {self.dataset!r}: an answer that is wrong is right at a larger budget")

    def __len__(self) -> int:
        return len(self.labels)

    def right(self, budget: float) -> NDArray[np.bool_]:
        """Return (N,) whether the answer is right under every change that the attack tried within `budget`.

        Raises:
            MeasurementError: no attack had this budget.
        """
        return np.asarray(self.answers[self.row(budget)] == self.labels)

    def row(self, budget: float) -> int:
        """Return the row of `answers` for a budget.

        Raises:
            MeasurementError: no attack had this budget.
        """
        if budget not in self.budgets:
            known = ", ".join(f"{one:g}" for one in self.budgets)
            raise MeasurementError(f"attacks on {self.dataset!r}: no budget {budget:g}; expected one of {known}")
        return self.budgets.index(budget)
