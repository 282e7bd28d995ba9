"""Reports made by hand: a report.json is written by the package itself, from the values of a table."""

from __future__ import annotations

from pathlib import Path

from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.core.summary import merge_summaries
from pytest_clip_robust.gates import conclude, judge
from pytest_clip_robust.gates.record import record_error, record_judgement
from pytest_clip_robust.report.document import build_document, write_document

TOP1, MEAN, NLL = "zero_shot.top1[photos]", "zero_shot.mean_per_class[photos]", "calibration.nll[photos]"


def record(key, value, *, model, tolerance=0.01, half=0.04, **origin):
    """Return the record of a gate; `half` is half the width of its 95 % interval, `origin` are digests."""
    metric, _, where = key.removesuffix("]").partition("[")
    dataset, _, subset = where.partition("/")
    lower = metric.startswith("calibration.")
    found = Measurement(
        metric=metric,
        value=value,
        n=100,
        interval=Interval(value - half, value + half, 0.95, "Student t"),
        direction="lower" if lower else "higher",
        tolerance=tolerance,
        headline=True,
        dataset=dataset,
        subset=subset,
        provenance=Provenance(model=model, **{"weights": f"weights of {model}", "data": "d1"} | origin),
    )
    return record_judgement(judge(found, None), model=model, test=f"test_{key}")


def changed(found, before, *, verdict="passed", flips=(), p=0.5, **fields):
    """Return a record of `record` as if it had been compared with the value `before` of a reference."""
    difference = found["value"] - before
    trend = {"regressed": "worse", "improved": "better", "inconclusive": "unclear"}.get(verdict, "same")
    change = {
        "since": "reference parent",
        "model": "parent",
        "value": before,
        "difference": difference,
        "low": difference - 0.03,
        "high": difference + 0.03,
        "method": "Bonett-Price",
        "p_worse": p,
        "p_better": 1 - p,
        "p_adjusted": p,
        "alpha": 0.05,
        "trend": trend,
        "test": "McNemar, mid-p",
        "tolerance": found["tolerance"],
        "error": 0.01,
        "step": 0.01,
        "minimum_detectable_effect": 0.05,
        "samples_needed": 1000,
        "flips": list(flips),
        "plot": {},
    }
    return {**found, "change": change, "verdict": verdict, "failed": verdict == "regressed", **fields}


def flip(sample, truth="cup", after="box"):
    """Return a sample that was classified correctly before and is not any more."""
    return {
        "sample": sample,
        "truth": truth,
        "before": truth,
        "after": after,
        "confidence_before": 0.9,
        "confidence_after": 0.1,
    }


def miss(sample, truth="cup", predicted="box"):
    """Return a wrong decision."""
    return {"sample": sample, "truth": truth, "predicted": predicted, "confidence": 0.8}


def document_of(records, *, exit_status, **about):
    """Return the document of a run of these records; `about` are parts of it that are not computed from them."""
    return (
        build_document(
            records,
            merge_summaries([]),
            profile="p",
            precision="fp32",
            alpha=0.05,
            correction="benjamini-hochberg",
            headline_share=0.5,
            conclusions=conclude(records),
            reference="",
            exit_status=exit_status,
            not_applicable={},
        )
        | about
    )


def write_report(folder: Path, name: str, values, **about) -> Path:
    """Write a report of the model `name`; `values` maps the key of a gate to its value, or to the error's message."""
    records = [
        record(key, value, model=name, **about)
        if isinstance(value, float)
        else record_error(value, model=name, measurement=key, test=f"test_{key}")
        for key, value in values.items()
    ]
    document = document_of(records, exit_status=0)
    path = folder / name / "report.json"
    write_document(document, path)
    return path
