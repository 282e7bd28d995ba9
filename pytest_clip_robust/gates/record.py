"""Records: judgements as plain data, for JUnit properties, report.json and the wire between xdist's processes."""

from __future__ import annotations

import dataclasses
from typing import TypedDict, cast

from pytest_clip_robust.core.measurement import Direction
from pytest_clip_robust.gates.regression import Change
from pytest_clip_robust.gates.verdict import Judgement, Verdict


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
    value: the baseline's value. low, high: the confidence interval of the difference. test: the statistical test.
    """

    since: str
    model: str
    value: float
    difference: float
    low: float
    high: float
    p_worse: float
    p_better: float
    alpha: float
    test: str
    tolerance: float
    minimum_detectable_effect: float
    flips: list[FlipRecord]


class MissRecord(TypedDict):
    """A wrong decision; see `Miss`."""

    sample: str
    truth: str
    predicted: str
    confidence: float


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
    threshold: its range in words, or None if no threshold applies. bound: the end of that range that was compared.
    within_noise: whether the bound is inside the confidence interval.
    chance: the value of a model that guesses, or None if it is not known. at_chance: see `Measurement.at_chance`.
    """

    place: int
    known: bool
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
    threshold_source: str
    within_noise: bool
    change: ChangeRecord | None
    details: dict[str, float]
    remark: str
    plot: dict[str, list[float]]
    misses: list[MissRecord]
    provenance: dict[str, str]


def record_judgement(
    judgement: Judgement,
    *,
    model: str,
    message: str = "",
    failed: bool = False,
    known: bool = False,
    test: str = "",
    place: int = 0,
) -> Record:
    """Return `judgement` as plain Python values; for `message`, `known`, `test` and `place` see `Record`."""
    found, demanded = judgement.measurement, judgement.threshold
    origin = found.provenance
    return {
        "test": test,
        "place": place,
        "verdict": str(judgement.verdict),
        "failed": failed,
        "known": known,
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
        "threshold_source": "" if demanded is None else demanded.source,
        "within_noise": judgement.within_noise,
        "change": None if judgement.change is None else _record_change(judgement.change),
        "details": {name: float(value) for name, value in found.details.items()},
        "remark": found.remark,
        "plot": {name: [float(value) for value in column] for name, column in found.plot.items()},
        "misses": [
            {
                "sample": miss.sample,
                "truth": miss.truth,
                "predicted": miss.predicted,
                "confidence": float(miss.confidence),
            }
            for miss in found.misses
        ],
        "provenance": {name: getattr(origin, name) for name in origin.__slots__},
        "message": message,
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


def junit_properties(record: Record) -> list[tuple[str, object]]:
    """Return the values of a record as JUnit properties, ``clip_value`` and so on, without nesting."""
    plain = {name: value for name, value in record.items() if not isinstance(value, dict | list) and value is not None}
    nested: dict[str, object] = {}
    for name in ("interval", "details", "change", "provenance"):
        part = cast("dict[str, object]", record.get(name) or {})
        nested |= {f"{name}_{key}": value for key, value in part.items() if not isinstance(value, list)}
    hidden = {"message", "test", "place"}
    return [(f"clip_{name}", value) for name, value in (plain | nested).items() if name not in hidden]


def _record_change(change: Change) -> ChangeRecord:
    found = change.comparison
    return {
        "since": change.baseline.name,
        "model": change.baseline.provenance.model,
        "value": float(change.baseline.value),
        "difference": float(found.difference),
        "low": float(found.interval.low),
        "high": float(found.interval.high),
        "p_worse": float(found.p_worse),
        "p_better": float(found.p_better),
        "alpha": float(change.alpha),
        "test": found.method,
        "tolerance": float(change.tolerance),
        "minimum_detectable_effect": float(change.detectable),
        "flips": [cast("FlipRecord", dataclasses.asdict(flip)) for flip in change.flips],
    }
