"""Confidences: the probability of each answer and whether it is correct, for all calibration metrics.

The (N, C) probabilities are never in memory as a whole: they are computed and summed a few thousand rows at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from pytest_clip_robust.core.arrays import Floats, row_slices
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError

BINS = 15
EDGES = np.linspace(0, 1, BINS + 1)
COLDEST, HOTTEST = 0.01, 10.0
"""The range of temperatures that are tried."""

SUM_TOLERANCE = 1e-3
"""The largest difference from 1 of a sample's sum of probabilities; half precision needs that much."""

SMALLEST_PROBABILITY = 1e-12
"""Replaces a probability of 0 of the true class, whose negative log-likelihood would be infinite."""

ROWS = 2048

Chunk = tuple[slice, NDArray[np.float32], Floats]
"""Rows, their probabilities (B, C), and the negative log-likelihood of their true classes (B,)."""


@dataclass(frozen=True, slots=True)
class ClassBins:
    """Sums over the samples for every class and bin of its probability, (C, 15) each.

    predicted: of probabilities; squared: of their squares; count: of samples; true: of samples of the class; of_true:
    of the probabilities of samples of the class.
    """

    predicted: Floats
    squared: Floats
    count: Floats
    true: Floats
    of_true: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidences:
    """The confidences of N answers among `n_classes` classes.

    confidence: (N,) the probability (0-1) of the answer. correct: (N,) booleans.
    nll: (N,) negative log-likelihood of the true class in nats; brier: (N,) sum of squared errors over classes;
        class_bins: sums per class. All three are None if only confidences are known.
    variant: ``""`` for the model's own logits, ``"scaled"`` after temperature scaling, ``"sigmoid"`` for pair
        probabilities; it is part of every metric's id.
    temperature: the divisor of the logits.

    Raises:
        MeasurementError: the set has no sample, shapes differ, a confidence is outside of 0 to 1, or there are fewer
            than two classes.
    """

    dataset: str
    confidence: Floats
    correct: NDArray[np.bool_]
    n_classes: int
    nll: Floats | None = None
    brier: Floats | None = None
    class_bins: ClassBins | None = None
    variant: str = ""
    temperature: float = 1.0
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"confidences on {self.dataset!r}"
        if self.confidence.ndim != 1 or self.confidence.shape != self.correct.shape:
            raise MeasurementError(
                f"{where}: confidences {self.confidence.shape} and answers {self.correct.shape}; expected (N,) twice"
            )
        if not len(self.confidence):
            raise MeasurementError(f"{where}: no samples, so there is nothing to measure")
        if self.n_classes < 2:
            raise MeasurementError(f"{where}: among {self.n_classes} classes every answer is certain; give at least 2")
        outside = ~((self.confidence >= 0) & (self.confidence <= 1))
        if outside.any():
            row = int(outside.argmax())
            raise MeasurementError(
                f"{where}: {int(outside.sum())} of {len(outside)} confidences are not in 0..1, "
                f"first {self.confidence[row]} at {row}"
            )

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return float(self.correct.mean())

    @property
    def gap(self) -> float:
        """Mean confidence minus accuracy: above 0 the model is overconfident."""
        return float(self.confidence.mean()) - self.accuracy


def softmax_confidences(predictions: Predictions, *, temperature: float | None = None) -> Confidences:
    """Return the confidences of the softmax of ``logits / temperature``, by default of the model's own logits.

    The bias of a sigmoid-trained model cancels in a softmax; its scale does not. If only the answers' own confidences
    are known, they are returned, and metrics of the other classes' probabilities are not defined.

    Raises:
        MeasurementError: fewer than two classes.
        NotApplicableError: the confidences are not known, or a `temperature` is asked for and the logits are not known.
    """
    if predictions.top is not None and predictions.top.confidence is not None and temperature is None:
        return Confidences(
            dataset=predictions.dataset,
            confidence=predictions.top.confidence,
            correct=predictions.answers == predictions.labels,
            n_classes=len(predictions.class_names),
            samples=predictions.samples,
            provenance=predictions.provenance,
        )
    predictions.all_logits("calibration" if temperature is None else "temperature scaling")
    return _summed(
        _softmax_chunks(predictions, temperature or 1.0),
        predictions,
        variant="" if temperature is None else "scaled",
        temperature=temperature or 1.0,
    )


def sigmoid_confidences(predictions: Predictions) -> Confidences:
    """Return the pair probability ``sigmoid(scale * cosine + bias)`` of each answer, as in sigmoid-trained models.

    Pair probabilities do not add up to 1 over classes, so only metrics of the answer's confidence can be measured.
    """
    top = predictions.all_logits("pair probability").max(axis=1).astype(np.float64)
    return Confidences(
        dataset=predictions.dataset,
        confidence=expit(top),
        correct=predictions.answers == predictions.labels,
        n_classes=predictions.logits.shape[1],
        variant="sigmoid",
        samples=predictions.samples,
        provenance=predictions.provenance,
    )


def probability_confidences(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], *, dataset: str = "probabilities"
) -> Confidences:
    """Return the confidences of (N, C) probabilities from another tool; `labels` (N,) are the true classes.

    Raises:
        MeasurementError: a probability is negative or NaN, or those of a sample do not add up to 1 within 0.001.
    """
    for rows in row_slices(len(probabilities), ROWS):
        part = probabilities[rows]
        bad = ~((part >= 0).all(axis=1) & (np.abs(part.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE))
        if bad.any():
            row = int(bad.argmax())
            raise MeasurementError(
                f"{dataset!r}: the probabilities of sample {rows.start + row} are {part[row].min():.4g} or more and "
                f"add up to {part[row].sum():.6g}; expected none below 0 and a sum of 1 (are they logits?)"
            )
    names = tuple(str(i) for i in range(probabilities.shape[1]))
    predictions = Predictions(
        dataset=dataset,
        logits=np.asarray(probabilities, dtype=np.float32),
        labels=labels,
        class_names=names,
        class_ids=names,
        samples=[str(i) for i in range(len(labels))],
    )
    return _summed(_given_chunks(predictions), predictions)


class Labelled(Protocol):
    """N named samples with their classes."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) classes."""

    @property
    def samples(self) -> Sequence[str]:
        """N names."""


def halves(found: Labelled, *, seed: int = 0) -> NDArray[np.bool_]:
    """Return (N,) True for the half to fit on: every second sample of each class.

    The half depends on the samples' names, the labels and `seed` alone, not on the order of the samples.
    """

    def rank(row: int) -> tuple[int, bytes]:
        return int(found.labels[row]), hashlib.sha256(f"{seed}|{found.samples[row]}".encode()).digest()

    fit = np.zeros(len(found.labels), np.bool_)
    fit[sorted(range(len(found.labels)), key=rank)[::2]] = True
    return fit


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature from 0.01 to 10 with the least NLL of ``softmax(logits / T)`` (Guo et al. 2017).

    NLL is convex in ``1 / T``, so the root of its slope is the only minimum; a root outside of the range gives its end.
    """
    logits, labels = predictions.all_logits("temperature scaling"), predictions.labels
    of_truth = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0].astype(np.float64)

    def slope(log_sharpness: float) -> float:
        """Return the mean over samples of the expected logit minus that of the true class."""
        total, sharpness = 0.0, np.float32(np.exp(log_sharpness))
        for part in row_slices(len(logits), ROWS):
            raised = logits[part] - logits[part].max(axis=1, keepdims=True)
            weights = np.exp(raised * sharpness)
            expected = np.einsum("nc,nc->n", weights, raised, dtype=np.float64) / weights.sum(axis=1, dtype=np.float64)
            total += float((expected + logits[part].max(axis=1) - of_truth[part]).sum())
        return total / len(logits)

    low, high = -np.log(HOTTEST), -np.log(COLDEST)
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return float(np.exp(-brentq(slope, low, high, xtol=1e-6)))


def bin_of(probability: Floats) -> NDArray[np.int64]:
    """Return the bin of each probability, of 15 equal bins ``(lo, hi]``; 0 is in the first."""
    return np.searchsorted(EDGES[1:-1], probability, side="left")


def _softmax_chunks(predictions: Predictions, temperature: float) -> Iterator[Chunk]:
    for part in row_slices(len(predictions), ROWS):
        logits = predictions.logits[part]
        raised = (logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature)
        of_truth = np.take_along_axis(raised, predictions.labels[part, None], axis=1)[:, 0]
        np.exp(raised, out=raised)
        total = raised.sum(axis=1, dtype=np.float64)
        raised /= total[:, None].astype(np.float32)
        yield part, raised, np.log(total) - of_truth


def _given_chunks(predictions: Predictions) -> Iterator[Chunk]:
    for part in row_slices(len(predictions), ROWS):
        given = predictions.logits[part]
        of_truth = np.take_along_axis(given, predictions.labels[part, None], axis=1)[:, 0].astype(np.float64)
        yield part, given, -np.log(np.maximum(of_truth, SMALLEST_PROBABILITY))


def _summed(
    chunks: Iterator[Chunk],
    predictions: Predictions,
    *,
    variant: Literal["", "scaled"] = "",
    temperature: float = 1.0,
) -> Confidences:
    """Return the confidences, in one pass over the probabilities.

    At most 14 probabilities of a sample exceed 1/15, so only those are sorted into bins; the rest is in the first bin.
    """
    n, n_classes = predictions.logits.shape
    confidence, nll, brier = np.empty(n), np.empty(n), np.empty(n)
    correct = np.empty(n, np.bool_)
    predicted, squared, count, true, of_true = np.zeros((5, n_classes, BINS))
    for part, probability, loss in chunks:
        labels, rows = predictions.labels[part], np.arange(len(probability))
        answers = probability.argmax(axis=1)
        of_truth = probability[rows, labels].astype(np.float64)
        squares = np.einsum("nc,nc->n", probability, probability, dtype=np.float64)
        confidence[part], correct[part] = probability[rows, answers], answers == labels
        nll[part], brier[part] = loss, squares - 2 * of_truth + 1
        row, column = np.nonzero(probability > EDGES[1])
        large = probability[row, column].astype(np.float64)
        cell = column * BINS + bin_of(large)
        _add(predicted, cell, large)
        _add(squared, cell, large**2)
        _add(count, cell, np.ones(len(cell)))
        predicted[:, 0] += probability.sum(axis=0, dtype=np.float64)
        squared[:, 0] += np.einsum("nc,nc->c", probability, probability, dtype=np.float64)
        own = labels * BINS + bin_of(of_truth)
        _add(true, own, np.ones(len(own)))
        _add(of_true, own, of_truth)
    count[:, 0] = n
    for sums in (predicted, squared, count):
        sums[:, 0] -= sums[:, 1:].sum(axis=1)
    return Confidences(
        dataset=predictions.dataset,
        confidence=confidence.clip(0, 1),
        correct=correct,
        n_classes=n_classes,
        nll=nll,
        brier=brier,
        class_bins=ClassBins(predicted, squared, count, true, of_true),
        variant=variant,
        temperature=temperature,
        samples=predictions.samples,
        provenance=predictions.provenance,
    )


def _add(sums: Floats, cell: NDArray[np.int64], values: Floats) -> None:
    sums += np.bincount(cell, weights=values, minlength=sums.size).reshape(sums.shape)
