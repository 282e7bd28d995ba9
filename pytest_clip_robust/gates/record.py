"""A judgement as plain data, fit for JUnit properties, report.json and the wire between xdist's processes."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_clip_robust.gates.regression import Change
from pytest_clip_robust.gates.verdict import Judgement, Verdict

Record = dict[str, Any]
"""Only None, bool, int, float, str, list and dict: whatever else is in it would break execnet's serializer."""


def record_judgement(judgement: Judgement, *, model: str, message: str = "", failed: bool = False) -> Record:
    """Flatten `judgement` into plain Python values; `message` explains what is no pass."""
    found, demanded = judgement.measurement, judgement.threshold
    origin = found.provenance
    return {
        "verdict": str(judgement.verdict),
        "failed": failed,
        "model": model,
        "measurement": found.key,
        "metric": found.metric,
        "dataset": found.dataset,
        "subset": found.subset,
        "value": float(found.value),
        "direction": found.direction,
        "n": int(found.n),
        "interval": {
            "low": float(found.interval.low),
            "high": float(found.interval.high),
            "level": float(found.interval.level),
            "method": found.interval.method,
        },
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


def record_error(message: str, *, model: str, measurement: str) -> Record:
    """Record that `measurement` (here a test id) could not be made."""
    error = str(Verdict.ERROR)
    return {"verdict": error, "failed": True, "model": model, "measurement": measurement, "message": message}


def junit_properties(record: Record) -> list[tuple[str, object]]:
    """Name the numbers of a record as JUnit properties, ``clip_value`` and so on, nothing nested."""
    plain = {name: value for name, value in record.items() if not isinstance(value, dict | list) and value is not None}
    interval = record.get("interval", {})
    nested = {f"interval_{name}": value for name, value in interval.items()}
    nested |= {f"details_{name}": value for name, value in record.get("details", {}).items()}
    change = record.get("change") or {}
    nested |= {f"change_{name}": value for name, value in change.items() if not isinstance(value, list)}
    nested |= {f"provenance_{name}": value for name, value in record.get("provenance", {}).items()}
    return [(f"clip_{name}", value) for name, value in (plain | nested).items() if name != "message"]


def _record_change(change: Change) -> Record:
    found = change.comparison
    return {
        "since": change.earlier.name,
        "model": change.earlier.provenance.model,
        "value": float(change.earlier.value),
        "difference": float(found.difference),
        "low": float(found.interval.low),
        "high": float(found.interval.high),
        "p_worse": float(found.p_worse),
        "p_better": float(found.p_better),
        "alpha": float(change.alpha),
        "test": found.method,
        "tolerance": float(change.tolerance),
        "minimum_detectable_effect": float(change.detectable),
        "flips": [dataclasses.asdict(flip) for flip in change.flips],
    }
