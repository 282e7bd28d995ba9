"""Decisions: what is left of predictions once an answer is chosen. Most accuracies need no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.evidence import (
    Answers,
    Evidence,
    Stratum,
    coarse_confidence,
    mean_evidence,
)
from pytest_clip_robust.core.measurement import Miss, Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError

MISSES_KEPT = 10
_ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Right or wrong, for every sample of one data set.

    correct: (N,) whether the answer was right; labels: (N,) true classes, any integers.
    annotations: named (N,) boolean columns. misses: wrong answers, the most confident first.
    confidence: (N,) softmax probability of the truth; answers: (N,) the class of the highest logit; class_names: what
        labels and answers mean. All three, or none where no logits are known.
    """

    dataset: str
    correct: NDArray[np.bool_]
    labels: NDArray[np.int64]
    samples: Sequence[str] = ()
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    misses: tuple[Miss, ...] = ()
    confidence: NDArray[np.float32] | None = None
    answers: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        n = len(self.correct)
        if n == 0:
            raise MeasurementError(f"decisions on {self.dataset!r}: no samples, so there is nothing to measure")
        for name, column in {"labels": self.labels, **self.annotations}.items():
            if column.shape != (n,):
                raise MeasurementError(f"decisions on {self.dataset!r}: {name} has {column.shape=}, expected {(n,)}")

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(self.correct.mean())

    @property
    def evidence(self) -> Evidence:
        """Right or wrong, for a paired comparison of accuracies, with what explains a changed answer if it is known."""
        if self.confidence is None or self.answers is None:
            return mean_evidence(self.dataset, self.correct)
        columns = {
            "outcome": self.correct,
            "confidence": coarse_confidence(self.confidence),
            "answer": self.answers.astype(np.int32),
        }
        return Evidence(
            test="mean",
            strata=(Stratum(name=self.dataset, columns=columns),),
            answers=Answers(samples=self.samples, labels=self.labels, class_names=self.class_names),
        )


def decide(source: Predictions | Decisions, *, k: int = 1) -> Decisions:
    """Count an answer right if the true class is among the `k` with the highest logits.

    Of equal logits the class with the lower index ranks first: a model that says nothing is not right about all.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``; `source` is already decided and `k` is not 1.
    """
    if isinstance(source, Decisions):
        if k != 1:
            raise MeasurementError(f"top-{k} of {source.dataset!r} needs logits, and only top-1 decisions are there")
        return source
    n_classes = source.logits.shape[1]
    if not 1 <= k < n_classes:
        raise MeasurementError(
            f"top-{k} of {source.dataset!r} says nothing among {n_classes} classes; "
            f"expected k from 1 to {n_classes - 1}"
        )
    ranks, confidence = _ranks_and_confidence(source)
    correct = ranks < k
    return Decisions(
        dataset=source.dataset,
        correct=correct,
        labels=source.labels,
        samples=source.samples,
        annotations=source.annotations,
        misses=worst_misses(source, correct),
        confidence=confidence,
        answers=source.logits.argmax(axis=1),
        class_names=source.class_names,
        provenance=source.provenance,
    )


def worst_misses(predictions: Predictions, correct: NDArray[np.bool_]) -> tuple[Miss, ...]:
    """Return the wrong answers that were given with the highest softmax probability, at most ten."""
    wrong = np.flatnonzero(~correct)
    confidence = np.concatenate([np.zeros(0, np.float32), *map(_confidence, _chunks(predictions.logits, wrong))])
    worst = wrong[np.argsort(-confidence, kind="stable")[:MISSES_KEPT]]
    sureness = dict(zip(wrong.tolist(), confidence.tolist(), strict=True))
    names = predictions.class_names
    return tuple(
        Miss(
            sample=predictions.samples[row],
            truth=names[predictions.labels[row]],
            predicted=names[int(predictions.logits[row].argmax())],
            confidence=sureness[row],
        )
        for row in worst.tolist()
    )


def _ranks_and_confidence(predictions: Predictions) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return for every sample how many classes rank before the true one, and the probability of that."""
    ranks, confidence = np.empty(len(predictions), np.int64), np.empty(len(predictions), np.float32)
    columns = np.arange(predictions.logits.shape[1])
    for start in range(0, len(ranks), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        logits, labels = predictions.logits[part], predictions.labels[part, None]
        of_truth = np.take_along_axis(logits, labels, axis=1)
        ranks[part] = ((logits > of_truth) | ((logits == of_truth) & (columns < labels))).sum(axis=1)
        top = logits.max(axis=1, keepdims=True)
        confidence[part] = np.exp(of_truth - top)[:, 0] / np.exp(logits - top).sum(axis=1)
    return ranks, confidence


def _chunks(logits: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        yield logits[rows[start : start + _ROWS_AT_A_TIME]]


def _confidence(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax probability of each row's highest logit."""
    confidence: NDArray[np.float32] = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptedAnswers:
    """The answers to N images under one kind of corruption at S severities.

    severities: S of 1 to 5, rising. answers: (S, N) classes. clean: (N,) the answers to the same images uncorrupted, or
    None where they are not known. labels: (N,) true classes.

    Raises:
        MeasurementError: there are no images or severities, or their numbers disagree.
    """

    dataset: str
    kind: str
    severities: tuple[int, ...]
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64] | None = None
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"{self.kind} on {self.dataset!r}"
        if not self.answers.size or not self.severities or list(self.severities) != sorted(set(self.severities)):
            raise MeasurementError(f"{where}: severities {self.severities} must rise, and have answers to measure")
        expected = (len(self.severities), len(self.labels))
        if self.answers.shape != expected or (self.clean is not None and self.clean.shape != self.labels.shape):
            raise MeasurementError(f"{where}: answers of shape {self.answers.shape}; expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAnswers:
    """(N, T) answers of T templates, each a classifier of its own, about N images of true classes (N,)."""

    dataset: str
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)
