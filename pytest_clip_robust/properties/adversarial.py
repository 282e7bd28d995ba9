"""Accuracy under attack: the share of images whose right answer no attack within a small budget could change.

It is an upper bound: a stronger attack could change more answers. Projected gradient descent (Madry et al. 2018,
"Towards Deep Learning Models Resistant to Adversarial Attacks", section 2.1).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_clip_robust.core.measurement import Measurement, Metric, Miss
from pytest_clip_robust.names import ATTACK_BUDGETS
from pytest_clip_robust.properties.accuracy import accuracy_of
from pytest_clip_robust.scoring.adversarial import AttackedAnswers
from pytest_clip_robust.scoring.decisions import MISSES_KEPT, Decisions

ACCURACY = Metric("adversarial.top1", direction="higher", tolerance=0.02, headline=False)

BUDGETS = ATTACK_BUDGETS
"""The largest changes of a pixel, in 1/255 of its range, that are measured."""


def accuracy(answers: AttackedAnswers, budget: float) -> Measurement:
    """Measure top-1 accuracy under attack within `budget`, as ``adversarial.top1[set/linf-<budget>]``.

    An image counts if its answer is right without and with the attack. The interval is Wilson's. `details` have the
    accuracy without an attack and the number of right answers that were lost; `misses` are those with the most
    confident wrong answers. Guessing has no accuracy under attack, so there is no value of chance.

    Raises:
        MeasurementError: no attack had this budget.
    """
    right = answers.right(budget)
    decisions = Decisions(
        dataset=answers.dataset,
        correct=right,
        labels=answers.labels,
        samples=answers.samples,
        misses=_misses(answers, answers.row(budget)),
        provenance=answers.provenance,
    )
    known = answers.clean == answers.labels
    return replace(
        accuracy_of(decisions, ACCURACY, subset=f"linf-{budget:g}"),
        details={
            "clean": float(known.mean()),
            "lost": float((known & ~right).sum()),
            "steps": float(answers.steps),
        },
    )


def _misses(answers: AttackedAnswers, row: int) -> tuple[Miss, ...]:
    """Return the right answers that were lost, those with the most confident wrong answers first."""
    lost = np.flatnonzero((answers.clean == answers.labels) & (answers.answers[row] != answers.labels))
    sure = answers.confidence[row, lost]
    names = answers.class_names
    return tuple(
        Miss(
            sample=answers.samples[i],
            truth=names[answers.labels[i]],
            predicted=names[answers.answers[row, i]],
            confidence=float(answers.confidence[row, i]),
        )
        for i in lost[np.argsort(-sure, kind="stable")[:MISSES_KEPT]].tolist()
    )
