"""Calibration: whether answers of 80 % confidence are correct four times in five.

Equal-width bins are ``(lo, hi]``, with a confidence of 0 in the first; equal-mass bins hold equally many samples, and
samples of equal confidence are averaged, so that their order does not matter. The number of bins is part of a metric's
id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Column, Evidence, PlotOf, Stratum, Term, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric
from pytest_clip_robust.errors import MeasurementError, NotApplicableError, did_you_mean
from pytest_clip_robust.scoring.confidence import BINS, EDGES, Confidences, bin_of
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.resampling import interval_of
from pytest_clip_robust.stats.roc import cells_of

CELLS = 100
"""The evidence of AURC pools neighbouring confidences in so many cells; its value never does."""

NOTICEABLE_GAP = 0.01

SHARE = (0.0, 1.0)
Part = TypeVar("Part")
BinStatistic = Callable[[Floats, Floats, Floats], Floats]
"""Takes (B, 15) numbers of samples, sums of confidences and numbers of correct answers; returns (B,)."""

ECE = Metric(f"calibration.ece_{BINS}_equal_width", direction="lower", tolerance=0.01, headline=True)
ECE_EQUAL_MASS = Metric(f"calibration.ece_{BINS}_equal_mass", direction="lower", tolerance=0.01, headline=False)
DEBIASED = Metric(f"calibration.rms_ce_{BINS}_debiased", direction="lower", tolerance=0.01, headline=False)
MCE = Metric(f"calibration.mce_{BINS}", direction="lower", tolerance=0.01, headline=False)
CLASSWISE = Metric(f"calibration.classwise_ece_{BINS}", direction="lower", tolerance=0.01, headline=False)
NLL = Metric("calibration.nll", direction="lower", tolerance=0.02, headline=False)
BRIER = Metric("calibration.brier", direction="lower", tolerance=0.01, headline=True)
AURC = Metric("calibration.aurc", direction="lower", tolerance=0.01, headline=False)


def expected_error(confidences: Confidences) -> Measurement:
    """Measure ECE with 15 equal-width bins: ``sum n_b / N |accuracy_b - confidence_b|`` (Guo et al. 2017).

    `plot` has the reliability diagram: ``low``, ``high``, ``n``, ``confidence`` and ``accuracy`` of each bin that has
    samples.
    """
    return _of_bins(confidences, ECE, bin_of, _ece, plot=_diagram)


def expected_error_equal_mass(confidences: Confidences) -> Measurement:
    """Measure ECE with 15 bins of equal counts (Nixon et al. 2019); fewer samples than bins have one bin each."""
    return _of_bins(confidences, ECE_EQUAL_MASS, _equal_mass, _ece)


def debiased_error(confidences: Confidences) -> Measurement:
    """Measure the debiased root-mean-square calibration error on 15 equal-mass bins (Kumar et al. 2019, section 4).

    Each bin's sampling variance ``accuracy (1 - accuracy) / (n_b - 1)`` is subtracted from its squared gap, so that few
    samples do not look like miscalibration; a sum below 0 is 0.

    Raises:
        MeasurementError: a bin would have fewer than two samples.
    """
    if len(confidences) < 2 * BINS:
        raise MeasurementError(
            f"{confidences.dataset!r}: {len(confidences)} samples in {BINS} bins; a debiased error needs two per bin, "
            f"at least {2 * BINS}"
        )
    return _of_bins(confidences, DEBIASED, _equal_mass, _debiased)


def maximum_error(confidences: Confidences) -> Measurement:
    """Measure MCE: the largest gap of the 15 equal-width bins, including bins of few samples (Naeini et al. 2015)."""
    return _of_bins(confidences, MCE, bin_of, _largest)


def classwise_error(confidences: Confidences) -> Measurement:
    """Measure classwise ECE: the mean over classes of the ECE of that class's probability (Kull et al. 2019).

    `details` has the worst class's error. The interval is that of the mean over classes, taken as a sample of classes.

    Raises:
        MeasurementError: only confidences are known.
    """
    bins = _known(confidences, "class_bins", confidences.class_bins)
    per_class = np.abs(bins.true - bins.predicted).sum(axis=1) / len(confidences)
    return _measurement(
        confidences,
        CLASSWISE,
        float(per_class.mean()),
        mean_interval(per_class, bounds=SHARE),
        details={"worst_class": float(per_class.max())},
    )


def negative_log_likelihood(confidences: Confidences) -> Measurement:
    """Measure the mean negative log-likelihood of the true class, in nats; equal probabilities have ``log C``.

    Raises:
        MeasurementError: only confidences are known.
    """
    losses = _known(confidences, "nll", confidences.nll)
    return _mean(confidences, NLL, losses, bounds=(0.0, np.inf), chance=math.log(confidences.n_classes))


def brier_score(confidences: Confidences) -> Measurement:
    """Measure the mean over samples of ``sum_c (p_c - y_c)^2``, between 0 and 2 (Brier 1950).

    Equal probabilities for all C classes have a score of ``(C - 1) / C``.

    `details` decompose it over 15 equal-width bins per class (Murphy 1973; Stephenson et al. 2008 for the variance
    within bins): ``reliability - resolution + uncertainty + within_bins`` is the score, exactly.

    Raises:
        MeasurementError: only confidences are known.
    """
    losses = _known(confidences, "brier", confidences.brier)
    chance = 1 - 1 / confidences.n_classes
    return _mean(confidences, BRIER, losses, bounds=(0.0, 2.0), details=_decomposition(confidences), chance=chance)


def area_under_risk_coverage(confidences: Confidences) -> Measurement:
    """Measure AURC: the error rate of the most confident answers, averaged over their number (Geifman et al. 2019).

    Answers of equal confidence enter in random order, and the value is the expected one. `details` has the excess over
    a perfect ranking; `plot` has the curve: ``coverage`` and ``risk``.
    """
    n, wrong = _most_confident_first(confidences.confidence, confidences.correct)
    value = float(_aurc(n[None], wrong[None])[0])
    errors = int(wrong.sum())
    perfect = float(_aurc(*(np.array([[len(confidences) - errors, errors]]), np.array([[0, errors]])))[0])
    evidence = _risk_evidence(confidences)
    return _measurement(
        confidences,
        AURC,
        value,
        interval_of(evidence, value=value, bounds=SHARE),
        evidence=evidence,
        details={"excess": value - perfect},
        plot=_risk_curve(confidences.confidence, confidences.correct),
    )


METRICS: Mapping[str, Callable[[Confidences], Measurement]] = {
    f"ece_{BINS}_equal_width": expected_error,
    f"ece_{BINS}_equal_mass": expected_error_equal_mass,
    f"rms_ce_{BINS}_debiased": debiased_error,
    f"mce_{BINS}": maximum_error,
    f"classwise_ece_{BINS}": classwise_error,
    "nll": negative_log_likelihood,
    "brier": brier_score,
    "aurc": area_under_risk_coverage,
}
"""Every metric by name, as ``calibration.<name>``; a variant follows the name, as in ``calibration.nll_scaled``."""

OF_CONFIDENCES = tuple(name for name in METRICS if name not in {f"classwise_ece_{BINS}", "nll", "brier"})
"""Metrics that need only the confidence of each answer."""


def measure(confidences: Confidences, metric: str) -> Measurement:
    """Measure one of METRICS by name.

    Raises:
        MeasurementError: the metric is unknown, or needs more than `confidences` has.
    """
    if metric not in METRICS:
        raise MeasurementError(f"no calibration metric {metric!r}{did_you_mean(metric, METRICS)}")
    return METRICS[metric](confidences)


def in_words(confidences: Confidences) -> str:
    """Return in words whether a model is more or less confident than accurate.

    >>> import numpy as np
    >>> correct = np.array([True, True, True, False])
    >>> in_words(Confidences(dataset="x", confidence=np.full(4, 0.9), correct=correct, n_classes=2))
    'overconfident: 90.0 % sure on average, 75.0 % right'
    """
    mean = float(confidences.confidence.mean())
    if abs(confidences.gap) < NOTICEABLE_GAP:
        word = "neither over- nor underconfident on average"
    else:
        word = "overconfident" if confidences.gap > 0 else "underconfident"
    return f"{word}: {mean:.1%} sure on average, {confidences.accuracy:.1%} right".replace("%", " %")


def _measurement(
    confidences: Confidences,
    metric: Metric,
    value: float,
    interval: Interval,
    *,
    details: Mapping[str, float] | None = None,
    plot: Mapping[str, Floats] | None = None,
    outcomes: Floats | None = None,
    evidence: Evidence | None = None,
    chance: float | None = None,
) -> Measurement:
    summary = {
        "mean_confidence": float(confidences.confidence.mean()),
        "accuracy": confidences.accuracy,
        "classes": confidences.n_classes,
        "temperature": confidences.temperature,
    }
    if confidences.variant:
        metric = replace(metric, id=f"{metric.id}_{confidences.variant}", headline=False)
    return Measurement.of(
        confidences,
        metric,
        value,
        interval,
        outcomes=outcomes,
        samples=confidences.samples,
        evidence=evidence,
        details=summary | dict(details or {}),
        remark=in_words(confidences),
        plot=plot,
        chance=chance,
    )


def _mean(
    confidences: Confidences,
    metric: Metric,
    losses: Floats,
    *,
    bounds: tuple[float, float],
    chance: float,
    details: Mapping[str, float] | None = None,
) -> Measurement:
    value, interval = float(losses.mean()), mean_interval(losses, bounds=bounds)
    return _measurement(confidences, metric, value, interval, details=details, outcomes=losses, chance=chance)


def _known(confidences: Confidences, name: str, part: Part | None) -> Part:
    if part is None:
        raise NotApplicableError(
            f"{confidences.dataset!r}: {name} needs the probabilities of all classes, and only confidences are known"
        )
    return part


def error_evidence(stratum: Stratum) -> Evidence:
    """Return the evidence of ECE from stored outcomes: its columns ``confidence`` (0-1) and ``correct`` (N,)."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return _bin_terms(bin_of, columns)

    return sums_evidence([stratum], terms, lambda sums: _ece(*sums[0]))


def _bin_terms(bins_of: Callable[[Floats], Ints], columns: Mapping[str, Column]) -> list[Term]:
    confidence = columns["confidence"].astype(np.float64)
    bins, right = _into_bins(bins_of, confidence, columns["correct"])
    return [Term(None, bins, BINS), Term(confidence, bins, BINS), Term(right, bins, BINS)]


def _of_bins(
    confidences: Confidences,
    metric: Metric,
    bins_of: Callable[[Floats], Ints],
    statistic: BinStatistic,
    *,
    plot: Callable[[Floats, NDArray[np.bool_]], dict[str, Floats]] | None = None,
) -> Measurement:
    """Measure a statistic of sums over the samples of each bin; `plot` draws confidences (N,) and correctness (N,)."""
    bins, right = _into_bins(bins_of, confidences.confidence, confidences.correct)
    value = float(statistic(*(one[None] for one in _binned(bins, confidences.confidence, right)))[0])

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return _bin_terms(bins_of, columns)

    drawn = None if plot is None else plot(confidences.confidence, confidences.correct)
    stored = None if plot is None else _of_columns(plot)
    evidence = sums_evidence([_stratum(confidences)], terms, lambda sums: statistic(*sums[0]), plot=stored)
    interval = interval_of(evidence, value=value, bounds=SHARE)
    return _measurement(confidences, metric, value, interval, evidence=evidence, plot=drawn)


def _of_columns(plot: Callable[[Floats, NDArray[np.bool_]], dict[str, Floats]]) -> PlotOf:
    """Return a plot of confidences and correctness as one of the columns of `_stratum`."""
    return lambda strata: plot(strata[0]["confidence"].astype(np.float64), strata[0]["correct"])


def _diagram(confidence: Floats, correct: NDArray[np.bool_]) -> dict[str, Floats]:
    n, sure, right = _binned(bin_of(confidence), confidence, correct)
    used = n > 0
    return {
        "low": EDGES[:-1][used],
        "high": EDGES[1:][used],
        "n": n[used],
        "confidence": sure[used] / n[used],
        "accuracy": right[used] / n[used],
    }


def _risk_curve(confidence: Floats, correct: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return at most 100 points of the risk over coverage."""
    kept, failed = (np.cumsum(one) for one in _most_confident_first(confidence, correct))
    plotted = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), 100)).astype(np.int64))
    return {"coverage": kept[plotted] / kept[-1], "risk": failed[plotted] / kept[plotted]}


def _most_confident_first(confidence: Floats, correct: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return, for each distinct confidence, how many answers have it and how many of these are wrong."""
    order = np.argsort(-confidence, kind="stable")
    sure = confidence[order]
    starts = np.flatnonzero(np.diff(sure, prepend=np.inf))
    wrong: Ints = np.add.reduceat(~correct[order], starts, dtype=np.int64)
    return np.diff(np.append(starts, len(sure))), wrong


def _into_bins(
    bins_of: Callable[[Floats], Ints], confidence: Floats, correct: NDArray[Any]
) -> tuple[Ints, NDArray[Any]]:
    """Return each sample's bin and correctness; in equal-mass bins, equal confidences share their mean correctness."""
    return bins_of(confidence), correct if bins_of is bin_of else _tie_averaged(confidence, correct)


def _binned(bins: Ints, confidence: Floats, correct: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Return (15,) numbers of samples, sums of confidences and numbers of correct answers."""
    n, sure, right = (np.bincount(bins, column, minlength=BINS) for column in (np.ones(len(bins)), confidence, correct))
    return n.astype(np.float64), sure.astype(np.float64), right.astype(np.float64)


def _tie_averaged(confidence: Floats, correct: NDArray[Any]) -> Floats:
    """Return each answer's correctness, averaged over all answers of the same confidence."""
    _, tie, size = np.unique(confidence, return_inverse=True, return_counts=True)
    averaged: Floats = (np.bincount(tie, correct) / size)[tie]
    return averaged


def _equal_mass(confidence: Floats) -> Ints:
    """Return each sample's bin by the rank of its confidence, the larger bins first, as `numpy.array_split` does."""
    order = np.argsort(confidence, kind="stable")
    bins = np.empty(len(order), np.int64)
    bins[order] = np.repeat(np.arange(BINS), [len(part) for part in np.array_split(order, BINS)])
    return bins


def _ece(n: Floats, sure: Floats, right: Floats) -> Floats:
    error: Floats = np.abs(right - sure).sum(axis=1) / n.sum(axis=1)
    return error


def _largest(n: Floats, sure: Floats, right: Floats) -> Floats:
    gaps: Floats = np.abs(np.divide(right - sure, n, out=np.zeros_like(n), where=n > 0)).max(axis=1)
    return gaps


def _debiased(n: Floats, sure: Floats, right: Floats) -> Floats:
    filled = np.maximum(n, 2)
    accuracy = right / filled
    squared = (accuracy - sure / filled) ** 2 - accuracy * (1 - accuracy) / (filled - 1)
    error: Floats = np.sqrt(np.maximum((np.where(n > 1, squared, 0) * n).sum(axis=1) / n.sum(axis=1), 0))
    return error


def _risk_evidence(confidences: Confidences) -> Evidence:
    def terms(columns: Mapping[str, Column]) -> list[Term]:
        (cell,) = cells_of([columns["confidence"].astype(np.float64)], cells=CELLS)
        return [Term(None, CELLS - 1 - cell, CELLS), Term(~columns["correct"], CELLS - 1 - cell, CELLS)]

    plot = _of_columns(_risk_curve)
    return sums_evidence([_stratum(confidences)], terms, lambda sums: _aurc(*sums[0]), plot=plot)


def _stratum(confidences: Confidences) -> Stratum:
    columns = {"confidence": confidences.confidence.astype(np.float32), "correct": confidences.correct}
    return Stratum(name=confidences.dataset, columns=columns)


def _aurc(n: NDArray[Any], wrong: NDArray[Any]) -> Floats:
    """Return AURC from (B, K) counts of samples and errors at K confidences, the highest first.

    Within a tie the expected number of errors grows evenly, so that with E errors among the first k samples the i-th
    risk is ``(E + (i - k) r) / i`` and the sum over i has harmonic numbers.
    """
    kept, errors = np.cumsum(n, axis=1), np.cumsum(wrong, axis=1)
    before, errors_before = kept - n, errors - wrong
    rate = np.divide(wrong, n, out=np.zeros(n.shape), where=n > 0)
    harmonic = digamma(kept + 1.0) - digamma(before + 1.0)
    area: Floats = (rate * n + (errors_before - rate * before) * harmonic).sum(axis=1) / kept[:, -1]
    return area


def _decomposition(confidences: Confidences) -> dict[str, float]:
    bins = _known(confidences, "class_bins", confidences.class_bins)
    n = len(confidences)
    filled = np.maximum(bins.count, 1e-9)
    forecast, observed = bins.predicted / filled, bins.true / filled
    base = bins.true.sum(axis=1, keepdims=True) / n
    spread = bins.squared - bins.predicted * forecast
    covariance = bins.of_true - bins.true * forecast
    return {
        "reliability": float((bins.count * (forecast - observed) ** 2).sum() / n),
        "resolution": float((bins.count * (observed - base) ** 2).sum() / n),
        "uncertainty": float((base * (1 - base)).sum()),
        "within_bins": float((spread - 2 * covariance).sum() / n),
    }
