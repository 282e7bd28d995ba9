"""OOD scores: how much a sample resembles the in-distribution (ID) set. Higher is always more in-distribution.

Scores are only ranked, so each is computed in its least saturated form: MSP and MCM as log probabilities, which keep
confidences of 1 - 1e-12 and of 1 - 1e-9 apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from pytest_clip_robust.core.arrays import Floats, row_slices
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.vectors import unit_rows

Logits = NDArray[np.float32]

NEIGHBOURS = 10
NEGATIVE_SHARE = 0.15
"""The share of a corpus that becomes negative labels: NegLabel's 10,000 of 70,000."""

NEARNESS_PERCENTILE = 95.0

ROUNDING = 1e-12
"""A spread below this share of the features' own size counts as rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One OOD score for each of N samples of a data set, higher for more in-distribution ones.

    values: (N,). classes: (N,) the samples' own classes, any integers, or None if they have no classes to average over.
    fitted_on: the number of ID samples that the score was fitted on.

    Raises:
        MeasurementError: the set has no sample, or a score is NaN.
    """

    dataset: str
    score: str
    values: Floats
    samples: Sequence[str] = ()
    classes: NDArray[np.int64] | None = None
    fitted_on: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or not len(self.values):
            raise MeasurementError(f"{self.score} on {self.dataset!r}: no scores, so there is nothing to rank")
        bad = np.isnan(self.values)
        if bad.any():
            first = self.samples[int(bad.argmax())] if len(self.samples) else int(bad.argmax())
            raise MeasurementError(
                f"{self.score} on {self.dataset!r}: {int(bad.sum())} of {len(bad)} scores are NaN, first {first!r}; "
                "a NaN has no rank"
            )

    def __len__(self) -> int:
        return len(self.values)


def maximum_softmax_probability(logits: Logits) -> Floats:
    """Return (N,) the log of the highest softmax probability of (N, C) logits, MSP (Hendrycks and Gimpel 2017)."""
    return _by_chunk(logits, lambda part: -_log_sum_below_top(part))


def maximum_concept_matching(logits: Logits, *, scale: float, temperature: float = 1.0) -> Floats:
    """Return (N,) the log of the highest ``softmax(cosine / temperature)``, MCM (Ming et al. 2022).

    Cosines are ``(logits - bias) / scale``, where the bias cancels. With ``temperature = 1 / scale`` this is MSP.
    """
    if temperature <= 0 or scale <= 0:
        raise MeasurementError(f"MCM with {temperature=} and {scale=}; expected both above 0")
    divisor = scale * temperature
    return _by_chunk(logits, lambda part: -_log_sum_below_top(part.astype(np.float64) / divisor))


def maximum_logit(logits: Logits) -> Floats:
    """Return (N,) the highest logit (Hendrycks et al. 2022)."""
    highest: Floats = logits.max(axis=1).astype(np.float64)
    return highest


def energy(logits: Logits) -> Floats:
    """Return (N,) the negative free energy ``logsumexp(logits)`` (Liu et al. 2020)."""
    return _by_chunk(logits, lambda part: part.max(axis=1) + _log_sum_below_top(part))


def entropy(logits: Logits) -> Floats:
    """Return (N,) the negative entropy of the softmax, in nats."""

    def negative_entropy(part: Logits) -> Floats:
        raised = part - part.max(axis=1, keepdims=True)
        weights = np.exp(raised)
        total = weights.sum(axis=1, dtype=np.float64)
        expected = np.einsum("nc,nc->n", weights, raised, dtype=np.float64) / total
        difference: Floats = expected - np.log(total)
        return difference

    return _by_chunk(logits, negative_entropy)


def nearest_neighbours(features: NDArray[np.floating], bank: NDArray[np.floating], *, k: int = NEIGHBOURS) -> Floats:
    """Return (N,) the negative distance of (N, D) features to the k-th nearest of (M, D) `bank` (Sun et al. 2022).

    Features of any length; distances are between unit vectors.

    Raises:
        MeasurementError: the bank has fewer than `k` rows.
    """
    if not 1 <= k <= len(bank):
        raise MeasurementError(f"the {k}-th nearest of {len(bank)} ID features does not exist; give more ID samples")
    rows, known = unit_rows(features, "image"), unit_rows(bank, "ID")
    similarity = _by_chunk(rows, lambda part: np.partition(part @ known.T, len(known) - k, axis=1)[:, len(known) - k])
    distance: Floats = -np.sqrt(np.maximum(2 - 2 * similarity, 0))
    return distance


def mahalanobis(features: NDArray[np.floating], bank: NDArray[np.floating], bank_labels: NDArray[np.int64]) -> Floats:
    """Return (N,) the negative squared Mahalanobis distance to the nearest class of `bank` (Lee et al. 2018).

    Classes share one covariance, shrunk as Ledoit and Wolf (2004) do, because D is often near the number of rows.

    Raises:
        MeasurementError: the bank does not have more rows than classes, or all rows of a class are equal.
    """
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 - a second of imports, for this score alone

    classes, place, sizes = np.unique(bank_labels, return_inverse=True, return_counts=True)
    if len(bank) <= len(classes):
        raise MeasurementError(
            f"{len(bank)} ID samples of {len(classes)} classes have no spread: "
            "give more samples per class, or leave mahalanobis out"
        )
    rows = bank.astype(np.float64)
    means = np.zeros((len(classes), rows.shape[1]))
    np.add.at(means, place, rows)
    means /= sizes[:, None]
    residuals = rows - means[place]
    if (residuals**2).sum() <= ROUNDING * (rows**2).sum():
        raise MeasurementError(
            f"the features of {len(bank)} ID samples differ between classes only: no spread to measure distances with"
        )
    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    factor = np.linalg.cholesky(covariance)

    def whitened(part: NDArray[np.floating]) -> Floats:
        found: Floats = solve_triangular(factor, part.astype(np.float64).T, lower=True).T
        return found

    centres = whitened(means)
    lengths = (centres**2).sum(axis=1)

    def nearest(part: NDArray[np.floating]) -> Floats:
        white = whitened(part)
        distance: Floats = ((white**2).sum(axis=1)[:, None] - 2 * white @ centres.T + lengths).min(axis=1)
        return -distance

    return _by_chunk(features, nearest)


def choose_negatives(
    class_weights: NDArray[np.floating], corpus_weights: NDArray[np.floating], *, share: float = NEGATIVE_SHARE
) -> NDArray[np.int64]:
    """Return the sorted positions of the (K, D) `corpus_weights` that are least similar to the (C, D) ID classes.

    Similarity is the 95th percentile of the cosines to the classes, so no single class decides (Jiang et al. 2024,
    NegMine). All weights have length 1. At least one row is returned.

    Raises:
        MeasurementError: the corpus is empty.
    """
    if not len(corpus_weights):
        raise MeasurementError("the corpus of negative labels is empty; give a file with one label per line")
    similarity = np.percentile(corpus_weights @ class_weights.T, NEARNESS_PERCENTILE, axis=1)
    n = max(1, round(share * len(similarity)))
    least = np.argsort(similarity, kind="stable")[:n]
    return np.sort(least)


def negative_labels(logits: Logits, negative_logits: Logits) -> Floats:
    """Return (N,) the log of the softmax mass of (N, C) ID labels against (N, M) negative labels (NegLabel).

    Jiang et al. (2024), equation 6, without grouping; the temperature is the model's own scale, in the logits.
    """
    own, others = energy(logits), energy(negative_logits)
    mass: Floats = -np.logaddexp(0, others - own)
    return mass


OF_LOGITS: Mapping[str, Callable[[Logits, float], Floats]] = {
    "mcm": lambda logits, scale: maximum_concept_matching(logits, scale=scale),
    "msp": lambda logits, _: maximum_softmax_probability(logits),
    "max_logit": lambda logits, _: maximum_logit(logits),
    "energy": lambda logits, _: energy(logits),
    "entropy": lambda logits, _: entropy(logits),
}
"""Scores of logits (N, C) and the model's scale."""

OF_FEATURES = (f"knn{NEIGHBOURS}", "mahalanobis")
"""Scores that are fitted on the features of one half of the ID set and measured on the other half."""


def shared_classes(id_classes: Sequence[str], ood_classes: Sequence[str]) -> list[str]:
    """Return the classes of an OOD set that are ID classes as well, ignoring case, spaces and underscores.

    >>> shared_classes(["hot dog", "cat"], ["Hot_Dog", "cloud"])
    ['Hot_Dog']
    """
    known = {_folded(name) for name in id_classes}
    return [name for name in ood_classes if _folded(name) in known]


def _by_chunk(rows: NDArray[np.floating], score: Callable[[NDArray[np.floating]], NDArray[np.floating]]) -> Floats:
    scores = np.empty(len(rows))
    for part in row_slices(len(rows)):
        scores[part] = score(rows[part])
    return scores


def _log_sum_below_top(logits: NDArray[np.floating]) -> Floats:
    """Return ``logsumexp(logits) - max(logits)``, exact where the top is far above the rest."""
    raised = logits - logits.max(axis=1, keepdims=True)
    top = raised.argmax(axis=1)
    np.exp(raised, out=raised)
    raised[np.arange(len(raised)), top] = 0
    rest: Floats = np.log1p(raised.sum(axis=1, dtype=np.float64))
    return rest


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
