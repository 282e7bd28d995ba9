"""Large multimodal models: accuracy of the model and of its vision tower, by factor and corruption."""

from __future__ import annotations

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.gates import Gates, place_of
from pytest_clip_robust.report.html.panel import Panel, rows_panel
from pytest_clip_robust.report.html.row import Row

GAIN = "multimodal.gain_over_tower_"


def multimodal_panels(gates: Gates) -> list[Panel]:
    """Return the model against its tower, for each way of answering, and the accuracies of every way."""
    panels = []
    for metric in dict.fromkeys(record["metric"] for record in gates.starting(GAIN)):
        rows = [
            _against_tower(record, gates) for record in gates.of(metric) if {"lmm", "tower"} <= set(record["details"])
        ]
        way = metric.removeprefix(GAIN).replace("_", " ")
        panels += rows_panel(
            f"The model against its tower, {way}",
            sorted(rows, key=lambda row: row.value - (row.before or 0.0)),
            note="Accuracy on the same images and options; hollow is the tower alone. Largest loss first.",
            before="tower",
        )
    accuracies = gates.rows(gates.starting("multimodal.accuracy_"))
    return panels + rows_panel("Accuracy by way of answering", accuracies)


def _against_tower(record: Record, gates: Gates) -> Row:
    gate = gates.row(record)
    details = record["details"]
    return Row(
        label=place_of(record),
        value=details["lmm"],
        before=details["tower"],
        n=record["n"],
        anchor=gate.anchor,
        verdict=gate.verdict,
    )
