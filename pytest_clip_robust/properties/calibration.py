"""Calibration: whether a confidence of 80 % means being right four times in five.

Equal-width bins are ``(lo, hi]``, a confidence of 0 in the first; equal-mass bins have as many samples each, and
samples of one confidence are interchangeable, so that no order decides. The number of bins is part of a metric's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Term, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.confidence import BINS, EDGES, Confidences, bin_of
from pytest_clip_robust.stats.bootstrap import bootstrap_rows
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.roc import cells_of

REPLICATES = 1000
CELLS = 100
"""Neighbouring confidences are taken together for the replicates of an interval, never for a value."""

NOTICEABLE_GAP = 0.01

Counts = NDArray[np.int64]
Part = TypeVar("Part")


def expected_error(reliability: Confidences) -> Measurement:
    """Measure ECE with 15 equal-width bins: ``sum n_b / N |accuracy_b - confidence_b|`` (Guo et al. 2017).

    `plot` has the reliability diagram: ``low``, ``high``, ``n``, ``confidence`` and ``accuracy`` of each bin that has
    samples.
    """
    n, sure, right = _binned(bin_of(reliability.confidence), reliability.confidence, reliability.correct)
    used = n > 0
    diagram = {
        "low": EDGES[:-1][used],
        "high": EDGES[1:][used],
        "n": n[used],
        "confidence": sure[used] / n[used],
        "accuracy": right[used] / n[used],
    }
    return _of_bins(reliability, f"ece_{BINS}_equal_width", bin_of, _ece, plot=diagram)


def expected_error_equal_mass(reliability: Confidences) -> Measurement:
    """Measure ECE with 15 bins of equal counts (Nixon et al. 2019); with fewer samples, one bin each."""
    return _of_bins(reliability, f"ece_{BINS}_equal_mass", _equal_mass, _ece)


def debiased_error(reliability: Confidences) -> Measurement:
    """Measure the debiased root-mean-square calibration error on 15 equal-mass bins (Kumar et al. 2019, section 4).

    From the squared gap of each bin its sampling variance ``accuracy (1 - accuracy) / (n_b - 1)`` is taken off, so that
    few samples do not look like miscalibration; what falls below 0 is 0.

    Raises:
        MeasurementError: a bin would have fewer than two samples.
    """
    if len(reliability) < 2 * BINS:
        raise MeasurementError(
            f"{reliability.dataset!r}: {len(reliability)} samples in {BINS} bins; a debiased error needs two a bin, "
            f"at least {2 * BINS}"
        )
    return _of_bins(reliability, f"rms_ce_{BINS}_debiased", _equal_mass, _debiased)


def maximum_error(reliability: Confidences) -> Measurement:
    """Measure MCE: the largest gap of the 15 equal-width bins, however few samples are in it (Naeini et al. 2015)."""
    return _of_bins(reliability, f"mce_{BINS}", bin_of, _largest)


def classwise_error(reliability: Confidences) -> Measurement:
    """Measure classwise ECE: the mean over classes of the ECE of that class's probability (Kull et al. 2019).

    `details` has the worst class's error. The interval is that of the mean over classes, taken as a sample of classes.

    Raises:
        MeasurementError: only confidences are known.
    """
    bins = _known(reliability, "class_bins", reliability.class_bins)
    per_class = np.abs(bins.true - bins.predicted).sum(axis=1) / len(reliability)
    return _measurement(
        reliability,
        f"classwise_ece_{BINS}",
        float(per_class.mean()),
        mean_interval(per_class, bounds=(0.0, 1.0)),
        details={"worst_class": float(per_class.max())},
    )


def negative_log_likelihood(reliability: Confidences) -> Measurement:
    """Measure the mean negative log-likelihood of the truth, in nats.

    Raises:
        MeasurementError: only confidences are known.
    """
    return _mean(reliability, "nll", _known(reliability, "nll", reliability.nll), bounds=(0.0, np.inf))


def brier_score(reliability: Confidences) -> Measurement:
    """Measure the mean over samples of ``sum_c (p_c - y_c)^2``, between 0 and 2 (Brier 1950).

    `details` decompose it over 15 equal-width bins a class (Murphy 1973; Stephenson et al. 2008 for what bins hide):
    ``reliability - resolution + uncertainty + within_bins`` is the score, exactly.

    Raises:
        MeasurementError: only confidences are known.
    """
    losses = _known(reliability, "brier", reliability.brier)
    return _mean(reliability, "brier", losses, bounds=(0.0, 2.0), details=_decomposition(reliability))


def area_under_risk_coverage(reliability: Confidences) -> Measurement:
    """Measure AURC: the error among the most confident answers, averaged over how many are kept (Geifman et al. 2019).

    Lower is better. Answers of equal confidence enter in random order, of which this is the expected value. `details`
    has the excess over a perfect ranking; `plot` the curve: ``coverage`` and ``risk``.
    """
    order = np.argsort(-reliability.confidence, kind="stable")
    sure = reliability.confidence[order]
    starts = np.flatnonzero(np.diff(sure, prepend=np.inf))
    n = np.diff(np.append(starts, len(sure)))
    wrong = np.add.reduceat(~reliability.correct[order], starts, dtype=np.int64)
    value = float(_aurc(n[None], wrong[None])[0])
    errors = int(wrong.sum())
    perfect = float(_aurc(*(np.array([[len(sure) - errors, errors]]), np.array([[0, errors]])))[0])
    cell = _cells(reliability.confidence)

    def area(counts: Counts, rows: Floats) -> Floats:
        surest_first = np.eye(int(rows[:, 0].max()) + 1)[::-1].T[rows[:, 0].astype(np.int64)]
        return _aurc(counts @ surest_first, (counts * rows[:, 1]) @ surest_first)

    rows = np.column_stack([cell, ~reliability.correct]).astype(np.float64)
    every = np.unique(np.linspace(0, len(n) - 1, min(len(n), 100)).astype(np.int64))
    kept, failed = np.cumsum(n), np.cumsum(wrong)
    return _measurement(
        reliability,
        "aurc",
        value,
        bootstrap_rows(rows, area, value=value, bounds=(0.0, 1.0), replicates=REPLICATES),
        evidence=_risk_evidence(reliability),
        details={"excess": value - perfect},
        plot={"coverage": kept[every] / kept[-1], "risk": failed[every] / kept[every]},
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
"""Every metric by its id, ``calibration.<name>``, which a variant may follow, as in ``calibration.nll_scaled``."""

OF_CONFIDENCES = tuple(name for name in METRICS if name not in {f"classwise_ece_{BINS}", "nll", "brier"})
"""Those that need no more than the answers' confidences."""


def measure(reliability: Confidences, metric: str) -> Measurement:
    """Measure one of METRICS by name.

    Raises:
        MeasurementError: there is no such metric, or it needs more than `reliability` has.
    """
    if metric not in METRICS:
        raise MeasurementError(f"no calibration metric {metric!r}{did_you_mean(metric, METRICS)}")
    return METRICS[metric](reliability)


def in_words(reliability: Confidences) -> str:
    """Say whether a model claims more or less than it achieves.

    >>> import numpy as np
    >>> correct = np.array([True, True, True, False])
    >>> in_words(Confidences(dataset="x", confidence=np.full(4, 0.9), correct=correct, n_classes=2))
    'overconfident: 90.0 % sure on average, 75.0 % right'
    """
    mean = float(reliability.confidence.mean())
    if abs(reliability.gap) < NOTICEABLE_GAP:
        word = "neither over- nor underconfident on average"
    else:
        word = "overconfident" if reliability.gap > 0 else "underconfident"
    return f"{word}: {mean:.1%} sure on average, {reliability.accuracy:.1%} right".replace("%", " %")


def _measurement(
    reliability: Confidences,
    metric: str,
    value: float,
    interval: Interval,
    *,
    details: Mapping[str, float] | None = None,
    plot: Mapping[str, Floats] | None = None,
    outcomes: Floats | None = None,
    evidence: Evidence | None = None,
) -> Measurement:
    about = {
        "mean_confidence": float(reliability.confidence.mean()),
        "accuracy": reliability.accuracy,
        "classes": reliability.n_classes,
        "temperature": reliability.temperature,
    }
    return Measurement(
        metric="_".join(part for part in (f"calibration.{metric}", reliability.variant) if part),
        value=value,
        n=len(reliability),
        interval=interval,
        direction="lower",
        dataset=reliability.dataset,
        outcomes=None if outcomes is None else outcomes.astype(np.float32),
        samples=reliability.samples,
        evidence=evidence,
        details=about | dict(details or {}),
        remark=in_words(reliability),
        plot=plot or {},
        provenance=reliability.provenance,
    )


def _mean(
    reliability: Confidences,
    metric: str,
    losses: Floats,
    *,
    bounds: tuple[float, float],
    details: Mapping[str, float] | None = None,
) -> Measurement:
    return _measurement(
        reliability,
        metric,
        float(losses.mean()),
        mean_interval(losses, bounds=bounds),
        details=details,
        outcomes=losses,
    )


def _known(reliability: Confidences, name: str, part: Part | None) -> Part:
    if part is None:
        raise MeasurementError(
            f"{reliability.dataset!r}: {name} needs the probabilities of all classes, and only confidences are known"
        )
    return part


def _binned(bins: Counts, confidence: Floats, correct: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Return for each of 15 bins how many samples, and their sums of confidences and of right answers."""
    n, sure, right = (np.bincount(bins, column, minlength=BINS) for column in (np.ones(len(bins)), confidence, correct))
    return n.astype(np.float64), sure.astype(np.float64), right.astype(np.float64)


def _tie_averaged(confidence: Floats, correct: NDArray[Any]) -> Floats:
    """Return whether each answer was right, as the mean over all answers of the same confidence."""
    _, tie, size = np.unique(confidence, return_inverse=True, return_counts=True)
    averaged: Floats = (np.bincount(tie, correct) / size)[tie]
    return averaged


def _equal_mass(confidence: Floats) -> Counts:
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


def _binned_interval(
    reliability: Confidences, bins: Counts, value: float, statistic: Callable[[Floats, Floats, Floats], Floats]
) -> Interval:
    """Resample bin, cell of confidence and right or wrong; cells stand for their mean confidence."""
    cell = _cells(reliability.confidence)
    place = cell * BINS + bins
    _, group, size = np.unique(place, return_inverse=True, return_counts=True)
    mean = (np.bincount(group, reliability.confidence) / size)[group]

    def of_counts(counts: Counts, rows: Floats) -> Floats:
        into = np.zeros((len(rows), 3 * BINS))
        which, line = rows[:, 0].astype(np.int64), np.arange(len(rows))
        for column, weight in enumerate((np.ones(len(rows)), rows[:, 1], rows[:, 2])):
            into[line, column * BINS + which] = weight
        sums = (counts @ into).reshape(len(counts), 3, BINS)
        return statistic(sums[:, 0], sums[:, 1], sums[:, 2])

    rows = np.column_stack([bins, mean, reliability.correct])
    return bootstrap_rows(rows, of_counts, value=value, bounds=(0.0, 1.0), replicates=REPLICATES)


def _of_bins(
    reliability: Confidences,
    metric: str,
    bins_of: Callable[[Floats], Counts],
    statistic: Callable[[Floats, Floats, Floats], Floats],
    *,
    plot: Mapping[str, Floats] | None = None,
) -> Measurement:
    """Measure a statistic of what the samples of each bin add up to."""
    bins, right = _into_bins(bins_of, reliability.confidence, reliability.correct)
    value = float(statistic(*(one[None] for one in _binned(bins, reliability.confidence, right)))[0])

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        confidence = columns["confidence"].astype(np.float64)
        bins, right = _into_bins(bins_of, confidence, columns["correct"])
        return [Term(None, bins, BINS), Term(confidence, bins, BINS), Term(right, bins, BINS)]

    return _measurement(
        reliability,
        metric,
        value,
        _binned_interval(reliability, bins, value, statistic),
        evidence=sums_evidence([_stratum(reliability)], terms, lambda sums: statistic(*sums[0])),
        plot=plot,
    )


def _into_bins(
    bins_of: Callable[[Floats], Counts], confidence: Floats, correct: NDArray[Any]
) -> tuple[Counts, NDArray[Any]]:
    """Return each sample's bin and whether it was right; equal confidences that rank apart share what was right."""
    return bins_of(confidence), correct if bins_of is bin_of else _tie_averaged(confidence, correct)


def _risk_evidence(reliability: Confidences) -> Evidence:
    def terms(columns: Mapping[str, Column]) -> list[Term]:
        cell = CELLS - 1 - _cells(columns["confidence"].astype(np.float64))
        return [Term(None, cell, CELLS), Term(~columns["correct"], cell, CELLS)]

    return sums_evidence([_stratum(reliability)], terms, lambda sums: _aurc(*sums[0]))


def _stratum(reliability: Confidences) -> Stratum:
    columns = {"confidence": reliability.confidence.astype(np.float32), "correct": reliability.correct}
    return Stratum(name=reliability.dataset, columns=columns)


def _cells(confidence: Floats) -> Counts:
    """Sort confidences into at most 100 cells of about equal counts, equal ones into the same."""
    return cells_of([confidence], cells=CELLS)[0]


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


def _decomposition(reliability: Confidences) -> dict[str, float]:
    bins = _known(reliability, "class_bins", reliability.class_bins)
    n = len(reliability)
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
