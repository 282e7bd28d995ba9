"""Panel of checkpoints: the gates that reports measured on every one of them, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_clip_robust.errors import ReportError, shown
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import Document

SAME = ("data", "prompts", "precision", "preprocess")
"""Digests that must be equal, or the values of a gate differ for other reasons than the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """K checkpoints that were measured on the same images.

    checkpoints: their labels; a label that several reports use is followed by the report.
    gates: the measurement's key -> K records with a value, in the order of `checkpoints`.
    unmeasured: the key of a gate that some checkpoints lack -> the labels of those.
    """

    checkpoints: tuple[str, ...]
    gates: Mapping[str, tuple[Record, ...]]
    unmeasured: Mapping[str, tuple[str, ...]]


def panel_from(reports: Mapping[Path, Document]) -> Panel:
    """Return the panel of all checkpoints in `reports`.

    Raises:
        ReportError: there are fewer than two checkpoints, two are the same one, one has no gate that was measured, no
            gate was measured on all of them, or a gate was not measured in the same way on all of them.
    """
    found = _by_checkpoint(reports)
    if len(found) < 2:
        there = f"there is only {next(iter(found))}" if found else "there is no model in the reports"
        raise ReportError(f"a spread needs two or more checkpoints, and {there}")
    _check_different(found)
    keys = sorted({key for records in found.values() for key in records})
    lacking = {key: tuple(label for label, records in found.items() if key not in records) for key in keys}
    gates = {key: tuple(records[key] for records in found.values()) for key in keys if not lacking[key]}
    if not gates:
        raise ReportError(f"no gate was measured on all of {', '.join(found)}; measure them with the same profile")
    for key, records in gates.items():
        _check_comparable(key, dict(zip(found, records, strict=True)))
    return Panel(
        checkpoints=tuple(found), gates=gates, unmeasured={key: labels for key, labels in lacking.items() if labels}
    )


def _by_checkpoint(reports: Mapping[Path, Document]) -> dict[str, dict[str, Record]]:
    """Return the measured gates by key, of each checkpoint by label."""
    pairs = [(path, model) for path, report in reports.items() for model in _models(report)]
    names = [model for _, model in pairs]
    found: dict[str, dict[str, Record]] = {}
    for path, model in pairs:
        label = model if names.count(model) == 1 else f"{model} of {path}"
        of_model = [record for record in reports[path]["gates"] if record["model"] == model]
        found[label] = {record["measurement"]: record for record in of_model if "value" in record}
        if not found[label]:
            raise ReportError(f"{label}: no gate was measured: {of_model[0]['message'].partition(chr(10))[0]}")
    return found


def _models(report: Document) -> list[str]:
    return list(dict.fromkeys(record["model"] for record in report["gates"]))


def _check_different(found: Mapping[str, Mapping[str, Record]]) -> None:
    """Raise ReportError if two checkpoints have the same weights: their spread of 0 would say nothing."""
    seen: dict[str, str] = {}
    for label, records in found.items():
        weights = next(iter(records.values()))["provenance"].get("weights", "")
        if weights and weights in seen:
            raise ReportError(
                f"{seen[weights]} and {label} have the same weights ({weights[:12]}), so they cannot show a spread; "
                "give checkpoints that were trained separately"
            )
        seen[weights] = label


def _check_comparable(key: str, records: Mapping[str, Record]) -> None:
    (first, expected), *others = ((label, record["provenance"]) for label, record in records.items())
    for label, provenance in others:
        for part in SAME:
            one, other = expected.get(part, ""), provenance.get(part, "")
            if one != other:
                raise ReportError(
                    f"{key} was not measured in the same way: {part} of {first} is {shown(one[:12])}, and of {label} "
                    f"{shown(other[:12])}; measure all checkpoints with the same profile, data and precision"
                )
