"""Comparison of a measurement with its baseline: a stored one, or the measurement of a reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import CONFIDENCE_STEPS, SHORT_DIGEST, Evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.stats.paired import Comparison, compare, unpaired
from pytest_clip_robust.stats.resampling import value_from
from pytest_clip_robust.stats.roc import auroc, tally

FLIPS_KEPT = 10
SLACK = 1e-9
"""Differences of rounded numbers: 0.79 - 0.80 is -0.010000000000000009."""

ROUNDING = 1e-4
"""Values are stored with six digits, and columns as float32, in which scores can become equal."""

COARSENESS = 0.02
"""With 4 per sample, twice the largest error of coarse evidence in 1,500 simulated sets of 5 to 3,000 scores."""


class Trend(StrEnum):
    """The change of a value from one model to another."""

    WORSE = "worse"
    UNCLEAR = "unclear"
    BETTER = "better"
    SAME = "same"
    UNDECIDED = "undecided"
    """It can still become worse or better; the p-values of the other gates of the run decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The value that a measurement is compared with. `evidence` is None if only the value is known.

    name: for people: the baseline's file, or the reference model. plot: as `Measurement.plot`; empty if not known.
    """

    name: str
    value: float
    interval: Interval
    n: int
    provenance: Provenance
    evidence: Evidence | None = None
    plot: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample that was classified correctly before and is not any more.

    before, after: the predicted classes. confidence_before, confidence_after: the probability (0-1) of the true class.
    They are ``""`` and None if only the decision is known.
    """

    sample: str
    truth: str = ""
    before: str = ""
    after: str = ""
    confidence_before: float | None = None
    confidence_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The difference between a measurement and its baseline.

    loss: how much worse the measurement is, in the units of the value; negative if it is better.
    tolerance: the largest loss that does not count as a regression.
    alpha: the level of this test. decided_at_end: whether a p-value at or below `alpha` is significant only if the
        other gates of the run agree; `alpha` is then that of the run.
    power: the comparison whose error says which losses could be detected.
    """

    baseline: Baseline
    comparison: Comparison
    loss: float
    tolerance: float
    alpha: float
    power: Comparison
    decided_at_end: bool = False
    flips: tuple[Flip, ...] = ()

    @property
    def trend(self) -> Trend:
        """Whether the loss or gain reaches the tolerance, and whether it is statistically significant."""
        p = self.comparison.p_worse if self.loss > 0 else self.comparison.p_better
        found = trend_of(self.loss, self.tolerance, significant=p <= self.alpha)
        return Trend.UNDECIDED if self.decided_at_end and found in {Trend.WORSE, Trend.BETTER} else found


def trend_of(loss: float, tolerance: float, *, significant: bool) -> Trend:
    """Return the trend of a loss, or of a gain (below 0), of which it is known whether it is significant."""
    if reaches(loss, tolerance):
        return Trend.WORSE if significant else Trend.UNCLEAR
    return Trend.BETTER if reaches(-loss, tolerance) and significant else Trend.SAME


def reaches(change: float, tolerance: float) -> bool:
    """Return whether a loss, or a gain, is one of at least `tolerance`, apart from rounding."""
    return change >= tolerance - SLACK and change > SLACK


def change_since(measurement: Measurement, baseline: Baseline, *, alpha: float, decided_at_end: bool = False) -> Change:
    """Compare a measurement with a baseline on the same samples; its own tolerance applies.

    Raises:
        MeasurementError: the evidence of the two cannot be paired.
    """
    difference = measurement.value - baseline.value
    apart = unpaired(
        (baseline.value, baseline.interval), (measurement.value, measurement.interval), direction=measurement.direction
    )
    if measurement.evidence is None or baseline.evidence is None:
        found, flips = apart, tuple[Flip, ...]()
    else:
        paired = compare(
            baseline.evidence, measurement.evidence, direction=measurement.direction, difference=difference
        )
        # Pairs that all change by the same amount have no error to test with: an AUROC falls from 1 to 0, say.
        found = apart if paired.error == 0 and abs(difference) > SLACK else paired
        flips = find_flips(measurement, baseline.evidence)
    return Change(
        baseline=baseline,
        comparison=found,
        loss=-difference if measurement.direction == "higher" else difference,
        tolerance=measurement.tolerance,
        alpha=alpha,
        # If no sample changed, the paired error is 0 and says nothing about other changes; the unpaired one is larger.
        power=found if found.error > 0 else apart,
        decided_at_end=decided_at_end,
        flips=flips,
    )


def baseline_from(measurement: Measurement, *, name: str) -> Baseline:
    """Return the measurement of a reference model as a baseline."""
    return Baseline(
        name=name,
        value=measurement.value,
        interval=measurement.interval,
        n=measurement.n,
        provenance=measurement.provenance,
        evidence=measurement.evidence,
        plot=measurement.plot,
    )


def incompatibilities(baseline: Baseline, measurement: Measurement, *, across_models: bool = False) -> list[str]:
    """Return what makes two numbers incomparable: other data, prompts, precision or preprocessing.

    Different models may preprocess images differently; a model and its own baseline may not.
    """
    fields = ("data", "prompts", "precision") if across_models else ("data", "prompts", "precision", "preprocess")
    found = []
    for name in fields:
        before = getattr(baseline.provenance, name)[:SHORT_DIGEST]
        now = getattr(measurement.provenance, name)[:SHORT_DIGEST]
        if before != now:
            sizes = (f" (n={baseline.n})", f" (n={measurement.n})") if name == "data" else ("", "")
            found.append(f"{name} was {before or 'none'}{sizes[0]} and is {now or 'none'}{sizes[1]}")
    return found


def evidence_from(measurement: Measurement, stored: Sequence[tuple[str, str, NDArray[Any]]]) -> Evidence | None:
    """Return the evidence of a baseline: its stored columns (stratum, name, values) with the measurement's statistic.

    None if the measurement has other columns, such as after a change of what its property records.
    """
    evidence = measurement.evidence
    if evidence is None:
        return None
    columns = {(stratum, name): values for stratum, name, values in stored}
    today = {(stratum.name, name): len(stratum) for stratum in evidence.strata for name in stratum.columns}
    if {key: len(values) for key, values in columns.items()} != today:
        return None
    strata = tuple(
        replace(one, columns={name: columns[one.name, name] for name in one.columns}) for one in evidence.strata
    )
    return replace(evidence, strata=strata, sample_info=None)


def contradiction(measurement: Measurement, value: float, evidence: Evidence) -> float | None:
    """Return what a baseline's evidence gives as its value if that is not `value`, else None.

    The evidence of some metrics is coarser than their value: scores are stored as one byte of rank. So the comparison
    is loose for values from sums, for few samples, and if the measurement's own evidence does not give its value.
    """
    if measurement.evidence is None:
        return None
    own, stored = value_of(measurement.evidence), value_of(evidence)
    scale = max(1.0, abs(value))
    limit = 4 * abs(own - measurement.value) + ROUNDING * scale
    if evidence.test == "sums":
        limit += COARSENESS * scale + 4 / min(evidence.shape().values())
    return stored if abs(stored - value) > limit else None


def value_of(evidence: Evidence) -> float:
    """Return the value that follows from evidence; NaN if it is undefined."""
    if evidence.test == "sums":
        return value_from(evidence)
    if evidence.test == "auroc":
        counted = tally(*(stratum.columns["score"].astype(np.float64) for stratum in evidence.strata))
        return float(auroc(counted.positives, counted.negatives))
    return float(evidence.strata[0].columns["outcome"].mean(dtype=np.float64))


def find_flips(measurement: Measurement, before: Evidence) -> tuple[Flip, ...]:
    """Return samples that were correct and are wrong now, those with the largest loss of confidence first."""
    after = measurement.evidence
    if after is None or after.test != "mean" or after.strata[0].columns["outcome"].dtype != np.bool_:
        return ()
    old, new = before.strata[0].columns, after.strata[0].columns
    good = measurement.direction == "higher"
    flipped = np.flatnonzero((old["outcome"] == good) & (new["outcome"] != good))
    known = after.sample_info
    if known is None:
        return tuple(Flip(sample=measurement.samples[row]) for row in flipped[:FLIPS_KEPT] if measurement.samples)
    lost = old["confidence"][flipped].astype(np.int64) - new["confidence"][flipped].astype(np.int64)
    worst = flipped[np.argsort(-lost, kind="stable")[:FLIPS_KEPT]]
    return tuple(
        Flip(
            sample=known.samples[row] if known.samples else str(row),
            truth=known.class_names[known.labels[row]],
            before=known.class_names[old["answer"][row]],
            after=known.class_names[new["answer"][row]],
            confidence_before=float(old["confidence"][row]) / CONFIDENCE_STEPS,
            confidence_after=float(new["confidence"][row]) / CONFIDENCE_STEPS,
        )
        for row in worst.tolist()
    )
