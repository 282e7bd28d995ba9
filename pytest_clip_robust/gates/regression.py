"""Whether a model got worse: a measurement against the same one made before, or of another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.evidence import CONFIDENCE_STEPS, SHORT_DIGEST, Evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.stats.paired import Comparison, compare, unpaired

FLIPS_KEPT = 10
SLACK = 1e-9
"""Differences of rounded numbers: 0.79 - 0.80 is -0.010000000000000009."""


class Trend(StrEnum):
    """What became of a value."""

    WORSE = "worse"
    UNCLEAR = "unclear"
    BETTER = "better"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a measurement is held against. `evidence` is None where only the value is known.

    name: what it is, for people: the baseline's file, or the reference model.
    """

    name: str
    value: float
    interval: Interval
    n: int
    provenance: Provenance
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample that was decided rightly and is no longer.

    before, after: the answers. confidence_before, confidence_after: the probability (0-1) given to the truth; None and
    "" where a decision is all that is known.
    """

    sample: str
    truth: str = ""
    before: str = ""
    after: str = ""
    confidence_before: float | None = None
    confidence_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of a measurement since `earlier`.

    loss: how much worse it is, in the units of the value; below 0 where it is better.
    alpha: the level of this one test, the run's divided by its number of gates.
    detectable: the loss that this test finds in four of five cases.
    """

    earlier: Earlier
    comparison: Comparison
    loss: float
    tolerance: float
    alpha: float
    detectable: float
    flips: tuple[Flip, ...] = ()

    @property
    def trend(self) -> Trend:
        """Tell a loss or gain of at least the tolerance that chance does not explain from what it may explain."""
        if self.loss >= self.tolerance - SLACK and self.loss > SLACK:
            return Trend.WORSE if self.comparison.p_worse <= self.alpha else Trend.UNCLEAR
        if -self.loss >= self.tolerance - SLACK and -self.loss > SLACK and self.comparison.p_better <= self.alpha:
            return Trend.BETTER
        return Trend.SAME


def change_since(measurement: Measurement, earlier: Earlier, *, tolerance: float, alpha: float) -> Change:
    """Compare a measurement with an earlier one of the same samples.

    Raises:
        MeasurementError: the evidence of both cannot be paired.
    """
    difference = measurement.value - earlier.value
    apart = unpaired(
        (earlier.value, earlier.interval), (measurement.value, measurement.interval), direction=measurement.direction
    )
    if measurement.evidence is None or earlier.evidence is None:
        found, flips = apart, tuple[Flip, ...]()
    else:
        found = compare(earlier.evidence, measurement.evidence, direction=measurement.direction, difference=difference)
        flips = find_flips(measurement, earlier.evidence)
    return Change(
        earlier=earlier,
        comparison=found,
        loss=-difference if measurement.direction == "higher" else difference,
        tolerance=tolerance,
        alpha=alpha,
        # Where nothing changed, nothing says how much a change would vary; unpaired samples vary more.
        detectable=(found if found.error > 0 else apart).minimum_detectable_effect(alpha),
        flips=flips,
    )


def earlier_from(measurement: Measurement, *, name: str) -> Earlier:
    """Turn another model's measurement into what one is held against."""
    return Earlier(
        name=name,
        value=measurement.value,
        interval=measurement.interval,
        n=measurement.n,
        provenance=measurement.provenance,
        evidence=measurement.evidence,
    )


def differences(earlier: Earlier, measurement: Measurement, *, across_models: bool = False) -> list[str]:
    """Spell out what makes two numbers incomparable: other data, prompts, precision or preprocessing.

    Models compared with each other may preprocess in ways of their own; a model and its own past may not.
    """
    then, now = earlier.provenance, measurement.provenance
    fields = ("data", "prompts", "precision") if across_models else ("data", "prompts", "precision", "preprocess")
    found = []
    for field in fields:
        before, after = getattr(then, field)[:SHORT_DIGEST], getattr(now, field)[:SHORT_DIGEST]
        if before != after:
            sizes = (f" (n={earlier.n})", f" (n={measurement.n})") if field == "data" else ("", "")
            found.append(f"{field} {before or 'none'}{sizes[0]} then, {after or 'none'}{sizes[1]} now")
    return found


def with_columns(measurement: Measurement, stored: Sequence[tuple[str, str, NDArray[Any]]]) -> Evidence | None:
    """Rebuild earlier evidence from stored columns (stratum, name, values), with the statistic of today's.

    None where the columns are others than today's, as after a change of what a property keeps.
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


def find_flips(measurement: Measurement, before: Evidence) -> tuple[Flip, ...]:
    """Find the samples that were right and are wrong now, those with the largest loss of confidence first."""
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
