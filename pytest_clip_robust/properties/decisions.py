"""Decisions: what is left of predictions once an answer is chosen. Most accuracies need no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.measurement import Miss, Predictions, Provenance

MISSES_KEPT = 10
_ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Right or wrong, for every sample of one data set.

    correct: (N,) whether the answer was right; labels: (N,) true classes, any integers.
    annotations: named (N,) boolean columns. misses: wrong answers, the most confident first.
    """

    dataset: str
    correct: NDArray[np.bool_]
    labels: NDArray[np.int64]
    samples: Sequence[str] = ()
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    misses: tuple[Miss, ...] = ()
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
    correct = _true_ranks(source) < k
    return Decisions(
        dataset=source.dataset,
        correct=correct,
        labels=source.labels,
        samples=source.samples,
        annotations=source.annotations,
        misses=worst_misses(source, correct),
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


def _true_ranks(predictions: Predictions) -> NDArray[np.int64]:
    """Return for every sample how many classes rank before the true one."""
    ranks = np.empty(len(predictions), np.int64)
    columns = np.arange(predictions.logits.shape[1])
    for start in range(0, len(ranks), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        logits, labels = predictions.logits[part], predictions.labels[part, None]
        of_truth = np.take_along_axis(logits, labels, axis=1)
        ranks[part] = ((logits > of_truth) | ((logits == of_truth) & (columns < labels))).sum(axis=1)
    return ranks


def _chunks(logits: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        yield logits[rows[start : start + _ROWS_AT_A_TIME]]


def _confidence(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax probability of each row's highest logit."""
    confidence: NDArray[np.float32] = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return confidence
