"""Robustness to common corruptions: accuracy by kind and severity, and summaries of whole severity curves.

Every measurement over several kinds or severities takes images as the samples: one image corrupted in sixty ways is one
sample, not sixty. Severity 0 is the clean image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.evidence import Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric, Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import alexnet, calibration, ood
from pytest_clip_robust.properties.accuracy import accuracy_of
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import Confidences
from pytest_clip_robust.scoring.decisions import CorruptedAnswers, Decisions, decide
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.resampling import interval_of

ACCURACY = Metric("corruption.top1", direction="higher", tolerance=0.01, headline=False)
MEAN_ACCURACY = Metric("corruption.mean_top1", direction="higher", tolerance=0.01, headline=True)
RELATIVE = Metric("corruption.relative_robustness", direction="higher", tolerance=0.02, headline=False)
AREA = Metric("corruption.area", direction="higher", tolerance=0.01, headline=False)
HALF = Metric("corruption.half", direction="higher", tolerance=0.2, headline=False)
FLIPS = Metric("corruption.flips", direction="lower", tolerance=0.01, headline=False)
MCE = Metric("corruption.mce_alexnet", direction="lower", tolerance=0.02, headline=False)
SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """The severity curve of one kind, or the mean over several kinds, for each of N images.

    right: (S, N) share of kinds with a correct answer; clean: (N,) the same without corruption, or None. changed: share
    of kinds whose answer differs from that at the severity before, (S - 1, N), or (S, N) if clean answers are known.
    chance: the accuracy of guesses, or None if the number of classes is not known.
    """

    dataset: str
    subset: str
    severities: tuple[int, ...]
    right: Floats
    changed: Floats
    clean: Floats | None
    chance: float | None
    samples: Sequence[str]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.right.T)


def accuracy(source: Predictions | Decisions, kind: str, severity: int) -> Measurement:
    """Measure top-1 accuracy under one kind at one severity, as ``corruption.top1[<set>/<kind>/<severity>]``."""
    return accuracy_of(decide(source), ACCURACY, subset=f"{kind}/{severity}")


def mean_accuracy(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure the mean of the accuracies over kinds and severities, as ``corruption.mean_top1``.

    `details` have the mean of each kind, or of each severity if one kind is given. Over several kinds it is a headline.
    """
    curve = _mean_curve(answers)
    if len(answers) > 1:
        details = {one.kind: float((one.answers == one.labels).mean()) for one in answers}
    else:
        means = curve.right.mean(axis=1).tolist()
        details = {f"severity_{severity}": mean for severity, mean in zip(curve.severities, means, strict=True)}
    metric = MEAN_ACCURACY if len(answers) > 1 else MEAN_ACCURACY.as_detail()
    return _mean(curve, metric, curve.right.mean(axis=0), details=details, bounds=SHARE, chance=curve.chance)


def relative_robustness(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure mean corrupted over clean accuracy, as ``corruption.relative_robustness``; 1 means no loss.

    The interval resamples images, each with all its corruptions.

    Raises:
        MeasurementError: the clean answers are not known, or none of them is correct.
    """
    curve = _mean_curve(answers)
    clean = _clean(curve)
    corrupted = curve.right.mean(axis=0)
    columns = {"corrupted": corrupted.astype(np.float32), "clean": clean.astype(np.bool_)}
    evidence = _sums(curve, columns, lambda lost, kept: lost / kept)
    return _measurement(
        curve,
        RELATIVE,
        float(corrupted.mean() / clean.mean()),
        interval_of(evidence),
        evidence=evidence,
        details={"clean": float(clean.mean()), "corrupted": float(corrupted.mean())},
    )


def area(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure the mean height of accuracy over severity from 0 to the highest, as ``corruption.area``.

    The area is that of the trapezoidal rule, divided by the highest severity; a model that loses nothing has its clean
    accuracy.

    Raises:
        MeasurementError: the clean answers are not known, or none of them is correct.
    """
    curve = _mean_curve(answers)
    heights = np.vstack([_clean(curve), curve.right])
    per_image = trapezoid(heights, np.array([0, *curve.severities]), axis=0) / curve.severities[-1]
    return _mean(curve, AREA, per_image, bounds=SHARE, chance=curve.chance)


def half_severity(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure the severity at which accuracy has halved, by linear interpolation, as ``corruption.half``.

    If it never halves, the value is the highest severity, and the remark says so. The interval resamples images.

    Raises:
        MeasurementError: the clean answers are not known, or none of them is correct.
    """
    curve = _mean_curve(answers)
    points = np.vstack([_clean(curve), curve.right])
    severities = np.array([0.0, *curve.severities])
    heights = points.mean(axis=1)
    evidence = _sums(
        curve,
        {f"severity_{int(s)}": right.astype(np.float32) for s, right in zip(severities, points, strict=True)},
        lambda *sums: _halving(np.stack(sums, axis=1), severities),
    )
    return _measurement(
        curve,
        HALF,
        float(_halving(heights[None], severities)[0]),
        interval_of(evidence),
        evidence=evidence,
        remark="" if (heights <= heights[0] / 2).any() else f"accuracy never halves up to severity {severities[-1]:g}",
        plot={"severity": severities, "accuracy": heights},
    )


def flips(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure the share of answers that change between neighbouring severities, as ``corruption.flips``.

    Correct and wrong answers count equally. The step from clean to the first severity counts if the clean answers are
    known.

    Raises:
        MeasurementError: one severity is given, and the clean answers are not known.
    """
    curve = _mean_curve(answers)
    if not curve.changed.size:
        raise MeasurementError(f"{curve.dataset!r}: one severity has no neighbour to compare its answers with")
    return _mean(curve, FLIPS, curve.changed.mean(axis=0), bounds=SHARE)


def mean_corruption_error(answers: Sequence[CorruptedAnswers]) -> Measurement:
    """Measure mCE (Hendrycks and Dietterich 2019): errors over AlexNet's, as ``corruption.mce_alexnet``.

    The mean over kinds of ``sum_s error / sum_s error of AlexNet``, on the severities measured; 1 is AlexNet. On images
    that are not ImageNet's, the denominators only weight the kinds.

    Raises:
        MeasurementError: AlexNet's accuracy under a kind is not published.
    """
    curve = _mean_curve(answers)
    weights = [1 / _alexnet_error(one.kind, one.severities) for one in answers]
    errors = [(one.answers != one.labels).sum(axis=0) for one in answers]
    per_image = np.mean([weight * error for weight, error in zip(weights, errors, strict=True)], axis=0)
    most = float(np.mean([weight * len(one.severities) for weight, one in zip(weights, answers, strict=True)]))
    return _mean(
        curve,
        MCE,
        per_image,
        details={
            one.kind: float(weight * error.mean()) for one, weight, error in zip(answers, weights, errors, strict=True)
        },
        bounds=(0.0, most),
    )


def corruption_error(accuracies: Mapping[str, Sequence[float]]) -> float:
    """Return mCE of published accuracies (0-1) by kind, each at severities 1 to 5.

    >>> corruption_error({"fog_3d": alexnet.ACCURACY["fog_3d"]})
    1.0
    """
    ratios = [
        sum(1 - one for one in of_kind) / _alexnet_error(kind, tuple(range(1, len(of_kind) + 1)))
        for kind, of_kind in accuracies.items()
    ]
    return float(np.mean(ratios))


PROPERTIES: Mapping[str, Callable[[Sequence[CorruptedAnswers]], Measurement]] = {
    "mean_top1": mean_accuracy,
    "relative_robustness": relative_robustness,
    "area": area,
    "half": half_severity,
    "flips": flips,
    "mce_alexnet": mean_corruption_error,
}
"""What is measured over several severities, for one kind or for several together, by the last part of its id."""

OF_CLEAN = ("relative_robustness", "area", "half")
"""Properties that need the answers to the same images without corruption."""


def calibration_error(reliability: Confidences, kind: str, severity: int) -> Measurement:
    """Measure ECE with 15 equal-width bins under corruption, as ``corruption.ece_15_equal_width``."""
    return _renamed(calibration.expected_error(reliability), kind, severity)


def detection(
    corrupted: ood_scores.Scores, outside: Sequence[ood_scores.Scores], kind: str, severity: int
) -> Measurement:
    """Measure the AUROC of corrupted ID images against clean OOD images, as ``corruption.auroc_<score>``.

    A corrupted image of an ID class is still in distribution (Yang et al. 2023, full-spectrum OOD). With several OOD
    sets it is the mean over them.
    """
    found = [ood.measure(corrupted, one, "auroc") for one in outside]
    measured = found[0] if len(found) == 1 else ood.group_mean(found, "all")
    return _renamed(replace(measured, metric=f"ood.auroc_{corrupted.score}", dataset=corrupted.dataset), kind, severity)


def _renamed(measured: Measurement, kind: str, severity: int) -> Measurement:
    _, _, name = measured.metric.partition(".")
    return replace(measured, metric=f"corruption.{name}", subset=f"{kind}/{severity}", headline=False)


def _mean_curve(answers: Sequence[CorruptedAnswers]) -> _Curve:
    """Return the mean over kinds, image by image."""
    if not answers:
        raise MeasurementError("no kind of corruption, so there is nothing to measure")
    first = answers[0]
    for one in answers[1:]:
        if not _comparable(one, first):
            raise MeasurementError(
                f"{first.kind} and {one.kind} of {first.dataset!r} differ in images or severities, so they have no mean"
            )
    seen = [one.answers if one.clean is None else np.vstack([one.clean, one.answers]) for one in answers]
    return _Curve(
        dataset=first.dataset,
        subset=first.kind if len(answers) == 1 else "",
        severities=first.severities,
        right=np.mean([one.answers == one.labels for one in answers], axis=0),
        changed=np.mean([one[1:] != one[:-1] for one in seen], axis=0),
        clean=None if first.clean is None else (first.clean == first.labels).astype(np.float64),
        chance=None if first.n_classes is None else 1 / first.n_classes,
        samples=first.samples,
        provenance=_with_kinds(first.provenance, [one.kind for one in answers]),
    )


def _comparable(one: CorruptedAnswers, other: CorruptedAnswers) -> bool:
    return (
        (one.dataset, one.severities, one.clean is None) == (other.dataset, other.severities, other.clean is None)
        and list(one.samples) == list(other.samples)
        and np.array_equal(one.labels, other.labels)
    )


def _with_kinds(origin: Provenance, kinds: Sequence[str]) -> Provenance:
    """Return the provenance with kinds as part of the data, so that numbers over other kinds are never compared."""
    return replace(origin, data=combine_digests(origin.data, *kinds))


def _clean(curve: _Curve) -> Floats:
    if curve.clean is None:
        raise MeasurementError(
            f"{curve.dataset!r}: the answers to the same images without corruption are not known; "
            "give a set with the same images the role 'id'"
        )
    if not curve.clean.any():
        raise MeasurementError(f"{curve.dataset!r}: no answer to a clean image is correct, so there is nothing to lose")
    return curve.clean


def _halving(accuracies: Floats, severities: Floats) -> Floats:
    """Return the severity (B,) at which each of (B, S + 1) curves first falls to half of its start, or the last one."""
    over = accuracies - accuracies[:, :1] / 2
    found = np.full(len(over), severities[-1])
    for right in range(over.shape[1] - 1, 0, -1):
        fallen, drop = over[:, right] <= 0, over[:, right - 1] - over[:, right]
        share = np.divide(over[:, right - 1], drop, out=np.zeros(len(over)), where=fallen & (drop > 0))
        crossing = severities[right - 1] + share * (severities[right] - severities[right - 1])
        found = np.where(fallen, crossing.clip(severities[right - 1], severities[right]), found)
    return found


def _alexnet_error(kind: str, severities: Sequence[int]) -> float:
    if kind not in alexnet.ACCURACY:
        raise MeasurementError(f"mCE: AlexNet's accuracy under {kind!r} is not published; leave the kind out")
    return sum(1 - alexnet.ACCURACY[kind][severity - 1] for severity in severities)


def _sums(curve: _Curve, columns: Mapping[str, NDArray[Any]], statistic: Callable[..., Floats]) -> Evidence:
    """Return the evidence of a function of the sums of `columns` over images."""

    def of_sums(sums: Sequence[Sums]) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(*(one[:, 0] for one in sums[0]))

    strata = [Stratum(name=curve.dataset, columns=columns)]
    return sums_evidence(strata, lambda found: [Term(found[name]) for name in columns], of_sums)


def _mean(
    curve: _Curve,
    metric: Metric,
    per_image: Floats,
    *,
    bounds: tuple[float, float],
    details: Mapping[str, float] | None = None,
    chance: float | None = None,
) -> Measurement:
    value, interval = float(per_image.mean()), mean_interval(per_image, bounds=bounds)
    return _measurement(curve, metric, value, interval, outcomes=per_image, details=details, chance=chance)


def _measurement(
    curve: _Curve,
    metric: Metric,
    value: float,
    interval: Interval,
    *,
    outcomes: Floats | None = None,
    evidence: Evidence | None = None,
    details: Mapping[str, float] | None = None,
    remark: str = "",
    plot: Mapping[str, Floats] | None = None,
    chance: float | None = None,
) -> Measurement:
    return Measurement.of(
        curve,
        metric,
        value,
        interval,
        subset=curve.subset,
        outcomes=outcomes,
        samples=() if outcomes is None else curve.samples,
        evidence=evidence,
        details=details,
        remark=remark,
        plot=plot,
        chance=chance,
    )
