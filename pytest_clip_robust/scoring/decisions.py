"""Decisions: whether each answer is correct, and the answers under several templates or corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.core.evidence import Evidence, SampleInfo, Stratum, coarse_confidence, mean_evidence
from pytest_clip_robust.core.measurement import Miss, Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError

MISSES_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Correct and wrong answers to the N samples of one data set.

    correct: (N,) booleans; labels: (N,) true classes, any integers.
    annotations: named (N,) boolean columns. misses: wrong answers, the most confident first.
    confidence: (N,) softmax probability (0-1) of the true class; answers: (N,) the class of the highest logit;
        class_names: the names of labels and answers. Without logits, all three are left out.

    Raises:
        MeasurementError: the set has no sample, or lengths differ.
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
        """The share of correct answers."""
        return float(self.correct.mean())

    @property
    def evidence(self) -> Evidence:
        """The evidence of the accuracy; with confidences and answers, also what explains a changed answer."""
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
            sample_info=SampleInfo(samples=self.samples, labels=self.labels, class_names=self.class_names),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptedAnswers:
    """The answers to N images under one kind of corruption at S severities.

    severities: S of 1 to 5, ascending. answers: (S, N) classes. clean: (N,) answers to the same images without
    corruption, or None if unknown. labels: (N,) true classes. n_classes: the number of classes to choose from, or None.

    Raises:
        MeasurementError: no image or severity is given, severities do not ascend, or shapes disagree.
    """

    dataset: str
    kind: str
    severities: tuple[int, ...]
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64] | None = None
    n_classes: int | None = None
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"{self.kind} on {self.dataset!r}"
        if not self.answers.size or not self.severities or list(self.severities) != sorted(set(self.severities)):
            raise MeasurementError(
                f"{where}: severities {self.severities}; expected ascending ones, with answers to measure"
            )
        expected = (len(self.severities), len(self.labels))
        if self.answers.shape != expected or (self.clean is not None and self.clean.shape != self.labels.shape):
            raise MeasurementError(f"{where}: answers of shape {self.answers.shape}; expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAnswers:
    """Answers to N images by T zero-shot classifiers of one template each.

    answers: (N, T) classes; labels: (N,) true classes.
    """

    dataset: str
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.answers)


def decide(source: Predictions | Decisions, *, k: int = 1) -> Decisions:
    """Return which answers are correct: those with the true class among the `k` highest logits.

    Of equal logits the class with the lower index ranks first, so constant logits are not all correct.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``; `source` is already decided and `k` is not 1.
    """
    if isinstance(source, Decisions):
        if k != 1:
            raise MeasurementError(f"top-{k} of {source.dataset!r} needs logits, and only top-1 decisions are known")
        return source
    n_classes = source.logits.shape[1]
    if not 1 <= k < n_classes:
        raise MeasurementError(
            f"top-{k} of {source.dataset!r} is not defined among {n_classes} classes; "
            f"expected k from 1 to {n_classes - 1}"
        )
    if k == 1 and source.top is not None:
        correct, confidence = source.answers == source.labels, None
    else:
        source.all_logits(f"top-{k}")
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
        answers=source.answers,
        class_names=source.class_names,
        provenance=source.provenance,
    )


def decide_part(source: Predictions | Decisions, keep: NDArray[np.bool_]) -> Decisions:
    """Return the decisions on the samples where `keep` (N,) is true, with their own misses if the logits are known."""
    if isinstance(source, Predictions):
        return decide(source.rows(keep))
    return Decisions(
        dataset=source.dataset,
        correct=source.correct[keep],
        labels=source.labels[keep],
        samples=[source.samples[i] for i in np.flatnonzero(keep).tolist()] if source.samples else (),
        class_names=source.class_names,
        provenance=source.provenance,
    )


def worst_misses(predictions: Predictions, correct: NDArray[np.bool_]) -> tuple[Miss, ...]:
    """Return the ten wrong answers with the highest softmax probability, or all if there are fewer.

    None are returned if no probability is known.
    """
    wrong = np.flatnonzero(~correct)
    if predictions.top is not None:
        if predictions.top.confidence is None:
            return ()
        wrong = wrong[predictions.answers[wrong] >= 0]
        confidence = predictions.top.confidence[wrong].astype(np.float32)
    else:
        confidence = np.concatenate(
            [
                np.zeros(0, np.float32),
                *(_confidence(predictions.logits[wrong[part]]) for part in row_slices(len(wrong))),
            ]
        )
    worst = wrong[np.argsort(-confidence, kind="stable")[:MISSES_KEPT]]
    sureness = dict(zip(wrong.tolist(), confidence.tolist(), strict=True))
    names, answers = predictions.class_names, predictions.answers
    return tuple(
        Miss(
            sample=predictions.samples[row],
            truth=names[predictions.labels[row]],
            predicted=names[answers[row]],
            confidence=sureness[row],
        )
        for row in worst.tolist()
    )


def _ranks_and_confidence(predictions: Predictions) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (N,) numbers of classes that rank before the true one, and (N,) probabilities of the true one."""
    ranks, confidence = np.empty(len(predictions), np.int64), np.empty(len(predictions), np.float32)
    columns = np.arange(predictions.logits.shape[1])
    for part in row_slices(len(ranks)):
        logits, labels = predictions.logits[part], predictions.labels[part, None]
        of_truth = np.take_along_axis(logits, labels, axis=1)
        ranks[part] = ((logits > of_truth) | ((logits == of_truth) & (columns < labels))).sum(axis=1)
        top = logits.max(axis=1, keepdims=True)
        confidence[part] = np.exp(of_truth - top)[:, 0] / np.exp(logits - top).sum(axis=1)
    return ranks, confidence


def _confidence(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax probability of each row's highest logit."""
    confidence: NDArray[np.float32] = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return confidence
