"""Records: judgements as plain data, for JUnit properties, report.json and the wire between xdist's processes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TypedDict, cast

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.measurement import Direction, MatchedPair
from pytest_clip_robust.gates.regression import Change
from pytest_clip_robust.gates.verdict import Judgement, Verdict
from pytest_clip_robust.stats.paired import minimum_detectable_effect, times_more_samples
from pytest_clip_robust.system.text import printable

MOST_SAMPLES = 10**12
"""More samples than this are no help to anybody."""


class IntervalRecord(TypedDict):
    """A confidence interval."""

    low: float
    high: float
    level: float
    method: str


class FlipRecord(TypedDict):
    """A sample that was classified correctly before and is not any more; see `Flip`."""

    sample: str
    truth: str
    before: str
    after: str
    confidence_before: float | None
    confidence_after: float | None


class ChangeRecord(TypedDict):
    """The difference between a measurement and its baseline.

    since: the baseline's file, or the reference. model: the model that the baseline was measured on.
    value: the baseline's value. low, high: the 95 % confidence interval of the difference, by `method`.
    test: the statistical test.
    trend: see `Trend`. alpha: a p-value, adjusted if it is, at or below it is significant.
    p_adjusted: the p-value of the loss or gain, adjusted for the other gates of its family; None where p-values are
        not adjusted, and until the run ends.
    minimum_detectable_effect: the loss that is found with a probability of 80 % if no other gate loses; None until the
        run ends. samples_needed: how many samples would be needed to find a loss of the tolerance.
    error, step: those of the comparison that `minimum_detectable_effect` follows from.
    plot: that of the baseline, with the columns of `Record.plot`; empty if it is not known.
    """

    since: str
    model: str
    value: float
    difference: float
    low: float
    high: float
    method: str
    p_worse: float
    p_better: float
    p_adjusted: float | None
    alpha: float
    trend: str
    test: str
    tolerance: float
    error: float
    step: float
    minimum_detectable_effect: float | None
    samples_needed: int | None
    flips: list[FlipRecord]
    plot: dict[str, list[float]]


class MissRecord(TypedDict):
    """A wrong decision; see `Miss`."""

    sample: str
    truth: str
    predicted: str
    confidence: float


class PairRecord(TypedDict):
    """Two images and matches between them, with x and y in the first and in the second image; see `MatchedPair`."""

    images: list[str]
    share: float
    places: list[list[float]]
    right: list[bool]


class GateRecord(TypedDict):
    """The fields of every record, including that of a test that failed before it measured anything.

    test: the node id. measurement: the measurement's key, or the test's name. message: explains what did not pass.
    """

    test: str
    verdict: str
    failed: bool
    model: str
    measurement: str
    message: str


class Record(GateRecord, total=False):
    """One judgement. Only None, bool, int, float, str, list and dict, or execnet could not serialise it.

    place: the test's position in the collection. known: whether the value was compared, or recorded as a baseline.
    objection: why the measurement could not be judged, or ``""``.
    threshold: its range in words, or None if no threshold applies. bound: the end of that range that was compared.
    admitted: whether the value is in that range, if there is one.
    within_noise: whether the bound is inside the confidence interval.
    chance: the value of a model that guesses, or None if it is not known. at_chance: see `Measurement.at_chance`.
    """

    place: int
    known: bool
    objection: str
    metric: str
    dataset: str
    subset: str
    value: float
    direction: Direction
    tolerance: float
    headline: bool
    n: int
    interval: IntervalRecord
    chance: float | None
    at_chance: bool
    threshold: str | None
    bound: float | None
    admitted: bool
    threshold_source: str
    within_noise: bool
    change: ChangeRecord | None
    details: dict[str, float]
    remark: str
    plot: dict[str, list[float]]
    misses: list[MissRecord]
    pairs: list[PairRecord]
    provenance: dict[str, str]


def record_judgement(
    judgement: Judgement,
    *,
    model: str,
    failed: bool = False,
    known: bool = False,
    test: str = "",
    place: int = 0,
) -> Record:
    """Return `judgement` as plain Python values, without a message; for `known`, `test` and `place` see `Record`."""
    found, demanded = judgement.measurement, judgement.threshold
    origin = found.provenance
    return {
        "test": test,
        "place": place,
        "verdict": str(judgement.verdict),
        "failed": failed,
        "known": known,
        "objection": judgement.objection,
        "model": model,
        "measurement": found.key,
        "metric": found.metric,
        "dataset": found.dataset,
        "subset": found.subset,
        "value": float(found.value),
        "direction": found.direction,
        "tolerance": float(found.tolerance),
        "headline": bool(found.headline),
        "n": int(found.n),
        "interval": {
            "low": float(found.interval.low),
            "high": float(found.interval.high),
            "level": float(found.interval.level),
            "method": found.interval.method,
        },
        "chance": None if found.chance is None else float(found.chance),
        "at_chance": bool(found.at_chance),
        "threshold": None if demanded is None else str(demanded),
        "bound": None if demanded is None else float(demanded.bound_for(found.value)),
        "admitted": demanded is None or bool(demanded.admits(found.value)),
        "threshold_source": "" if demanded is None else demanded.source,
        "within_noise": judgement.within_noise,
        "change": None if judgement.change is None else _record_change(judgement.change, found.n),
        "details": {name: float(value) for name, value in found.details.items()},
        "remark": found.remark,
        "plot": _record_plot(found.plot),
        "misses": [
            {
                "sample": miss.sample,
                "truth": miss.truth,
                "predicted": miss.predicted,
                "confidence": float(miss.confidence),
            }
            for miss in found.misses
        ],
        "pairs": [_record_pair(pair) for pair in found.pairs],
        "provenance": {name: getattr(origin, name) for name in origin.__slots__},
        "message": "",
    }


def record_error(message: str, *, model: str, measurement: str, test: str = "") -> Record:
    """Return the record of a test that failed before it measured anything; `measurement` is the test's name."""
    return {
        "test": test,
        "verdict": str(Verdict.ERROR),
        "failed": True,
        "model": model,
        "measurement": measurement,
        "message": message,
    }


def p_value(record: Record, change: ChangeRecord) -> float:
    """Return the one-sided p-value of the change of a gate, not adjusted, in the direction that it took."""
    worse = (change["difference"] < 0) == (record["direction"] == "higher")
    return change["p_worse"] if worse else change["p_better"]


def junit_properties(record: Record) -> list[tuple[str, object]]:
    """Return the values of a record as JUnit properties, ``clip_value`` and so on, without nesting.

    Control characters are made visible: pytest escapes them in values only, and details are named after classes.
    """
    plain = {name: value for name, value in record.items() if not isinstance(value, dict | list) and value is not None}
    nested: dict[str, object] = {}
    for name in ("interval", "details", "change", "provenance"):
        part = cast("dict[str, object]", record.get(name) or {})
        kept = {key: value for key, value in part.items() if not isinstance(value, dict | list) and value is not None}
        nested |= {f"{name}_{key}": value for key, value in kept.items()}
    hidden = {"message", "objection", "test", "place"}
    return [
        (f"clip_{printable(name)}", printable(value) if isinstance(value, str) else value)
        for name, value in (plain | nested).items()
        if name not in hidden
    ]


def _record_change(change: Change, n: int) -> ChangeRecord:
    found, power, alpha = change.comparison, change.power, change.alpha
    changed: ChangeRecord = {
        "since": change.baseline.name,
        "model": change.baseline.provenance.model,
        "value": float(change.baseline.value),
        "difference": float(found.difference),
        "low": float(found.interval.low),
        "high": float(found.interval.high),
        "method": found.interval.method,
        "p_worse": float(found.p_worse),
        "p_better": float(found.p_better),
        "p_adjusted": None,
        "alpha": float(alpha),
        "trend": str(change.trend),
        "test": found.method,
        "tolerance": float(change.tolerance),
        "error": float(power.error),
        "step": float(power.step),
        "minimum_detectable_effect": None,
        "samples_needed": None,
        "flips": [cast("FlipRecord", dataclasses.asdict(flip)) for flip in change.flips],
        "plot": _record_plot(change.baseline.plot),
    }
    return changed if change.decided_at_end else with_power(changed, n=n, alpha=alpha)


def _record_pair(pair: MatchedPair) -> PairRecord:
    return {
        "images": list(pair.images),
        "share": float(pair.share),
        "places": [[round(float(end), 3) for end in match] for match in pair.places],
        "right": [bool(one) for one in pair.right],
    }


def _record_plot(plot: Mapping[str, Floats]) -> dict[str, list[float]]:
    return {name: [float(value) for value in column] for name, column in plot.items()}


def with_power(change: ChangeRecord, *, n: int, alpha: float) -> ChangeRecord:
    """Return `change` with the loss that a test of `n` samples at the level `alpha` detects."""
    error, step, tolerance = change["error"], change["step"], change["tolerance"]
    needed = times_more_samples(error, step, alpha, loss=tolerance) * n if tolerance > 0 else math.inf
    return {
        **change,
        "minimum_detectable_effect": minimum_detectable_effect(error, step, alpha),
        "samples_needed": math.ceil(needed) if needed < MOST_SAMPLES else None,
    }
