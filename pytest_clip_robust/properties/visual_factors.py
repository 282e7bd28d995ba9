"""Visual factors: accuracy on images that differ from the prototype of their class in one respect.

The 16 factors are those of ImageNet-X (Idrissi et al. 2023). Annotations are of mode ``top`` if an image carries one
factor at most, its most striking, and of mode ``multi`` otherwise; the mode is part of every metric's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.properties.accuracy import accuracy_of, chance_of
from pytest_clip_robust.scoring.decisions import Decisions, decide, decide_part
from pytest_clip_robust.stats.resampling import interval_of

ACCURACY = Metric("visual_factors.accuracy_{mode}", direction="higher", tolerance=0.01, headline=False)
AVERAGE = Metric("visual_factors.average", direction="higher", tolerance=0.01, headline=False)
ERROR_RATIO = Metric("visual_factors.error_ratio_{mode}", direction="lower", tolerance=0.05, headline=False)
WORST_FACTOR = Metric("visual_factors.worst_factor_{mode}", direction="higher", tolerance=0.01, headline=True)


def accuracy(source: Predictions | Decisions, factor: str) -> Measurement:
    """Measure top-1 accuracy on the images that carry `factor`, as ``visual_factors.accuracy_<mode>``.

    Raises:
        MeasurementError: the factor is not annotated, or no image carries it.
    """
    decisions = decide(source)
    carries = _carriers(decisions, factor)
    return accuracy_of(decide_part(source, carries), ACCURACY.named(mode=mode(decisions)), subset=factor)


def average(source: Predictions | Decisions) -> Measurement:
    """Measure top-1 accuracy on all annotated images, as ``visual_factors.average``: the error ratios' reference."""
    decisions = decide(source)
    _annotated(decisions)
    return accuracy_of(decisions, AVERAGE)


def error_ratio(source: Predictions | Decisions, factor: str) -> Measurement:
    """Measure ``(1 - accuracy on factor) / (1 - average accuracy)``, as ``visual_factors.error_ratio_<mode>``.

    Above 1 the factor makes images harder than average (Idrissi et al. 2023, section 4). The interval resamples images.

    Raises:
        MeasurementError: the factor is not annotated, no image carries it, or no answer is wrong.
    """
    decisions = decide(source)
    carries = _carriers(decisions, factor)
    if decisions.correct.all():
        raise MeasurementError(f"{decisions.dataset!r}: every answer is correct, so error ratios are not defined")
    wrong = ~decisions.correct
    evidence = _ratio_evidence(decisions, carries)
    return Measurement.of(
        decisions,
        ERROR_RATIO.named(mode=mode(decisions)),
        float(wrong[carries].mean() / wrong.mean()),
        interval_of(evidence),
        n=int(carries.sum()),
        subset=factor,
        evidence=evidence,
        details={"factor_error": float(wrong[carries].mean()), "average_error": float(wrong.mean())},
    )


def worst_factor(source: Predictions | Decisions) -> Measurement:
    """Measure the lowest accuracy over the annotated factors, as ``visual_factors.worst_factor_<mode>``.

    `details` has ``accuracy.<factor>`` and ``n.<factor>`` of each. Factors that no image carries are left out. The
    interval resamples images and takes the lowest factor of each replicate. `chance` is that of one factor chosen in
    advance: the lowest of several guessed accuracies is below it.

    Raises:
        MeasurementError: no factor is annotated, or no image carries one.
    """
    decisions = decide(source)
    carried = {name: column for name, column in _annotated(decisions).items() if column.any()}
    if not carried:
        raise MeasurementError(f"{decisions.dataset!r}: no image carries any of its annotated factors")
    accuracies = {name: float(decisions.correct[column].mean()) for name, column in carried.items()}
    lowest = min(accuracies.values())
    worst = next(name for name, value in accuracies.items() if value == lowest)
    evidence = _worst_evidence(decisions, carried)
    # Several factors can be equally hard; the one with the fewest images bounds how sure their accuracy is.
    fewest = min(int(carried[name].sum()) for name, value in accuracies.items() if value == lowest)
    return Measurement.of(
        decisions,
        WORST_FACTOR.named(mode=mode(decisions)),
        lowest,
        interval_of(evidence, bounds=(0.0, 1.0), size=fewest),
        n=int(carried[worst].sum()),
        evidence=evidence,
        details={f"accuracy.{name}": value for name, value in accuracies.items()}
        | {f"n.{name}": int(column.sum()) for name, column in carried.items()},
        chance=chance_of(decisions),
    )


def mode(decisions: Decisions) -> str:
    """Return ``top`` if images carry one factor at most, ``multi`` if some carry several."""
    per_image = np.sum(list(_annotated(decisions).values()), axis=0)
    return "top" if per_image.max() <= 1 else "multi"


def _ratio_evidence(decisions: Decisions, carries: NDArray[np.bool_]) -> Evidence:
    columns = {"outcome": decisions.correct, "carries": carries}

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        wrong = ~columns["outcome"]
        return [Term(wrong & columns["carries"]), Term(columns["carries"]), Term(wrong), Term()]

    def statistic(sums: Sequence[Sums]) -> Floats:
        wrong_carriers, carriers, wrong, n = (one[:, 0] for one in sums[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Floats = (wrong_carriers / carriers) / (wrong / n)
        return ratio

    return sums_evidence([Stratum(name=decisions.dataset, columns=columns)], terms, statistic)


def _worst_evidence(decisions: Decisions, carried: Mapping[str, NDArray[np.bool_]]) -> Evidence:
    columns = {"outcome": decisions.correct, **{f"carries.{name}": column for name, column in carried.items()}}

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        carriers = [columns[f"carries.{name}"] for name in carried]
        return [Term(one) for carrier in carriers for one in (columns["outcome"] & carrier, carrier)]

    def statistic(sums: Sequence[Sums]) -> Floats:
        right, carriers = np.hstack(sums[0][0::2]), np.hstack(sums[0][1::2])
        with np.errstate(invalid="ignore"):
            lowest: Floats = np.fmin.reduce(right / carriers, axis=1)
        return lowest

    return sums_evidence([Stratum(name=decisions.dataset, columns=columns)], terms, statistic)


def _annotated(decisions: Decisions) -> dict[str, NDArray[np.bool_]]:
    found = {name: decisions.annotations[name] for name in FACTORS if name in decisions.annotations}
    if not found:
        raise MeasurementError(f"{decisions.dataset!r} has no factor annotations; it needs columns such as 'pose'")
    return found


def _carriers(decisions: Decisions, factor: str) -> NDArray[np.bool_]:
    annotated = _annotated(decisions)
    if factor not in annotated:
        near = did_you_mean(factor, annotated)
        raise MeasurementError(
            f"{decisions.dataset!r} does not annotate {factor!r}{near}; it has {', '.join(annotated)}"
        )
    if not annotated[factor].any():
        raise MeasurementError(f"{decisions.dataset!r}: no image carries {factor!r}, so there is nothing to measure")
    return annotated[factor]
