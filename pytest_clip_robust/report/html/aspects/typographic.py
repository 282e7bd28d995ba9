"""Typographic attacks: accuracy without a note, with a blank one, and with a wrong word on it."""

from __future__ import annotations

from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel, rows_panel
from pytest_clip_robust.report.html.row import Row

CLEAN = "typographic.relative_robustness"
NOTE = "The difference between the last two is the effect of the word; the first two show that of hiding a part."


def typographic_panels(gates: Gates) -> list[Panel]:
    """Return the three accuracies of each set, and how often the model answers with the word."""
    panels = []
    for attacked in gates.of("typographic.top1"):
        own = [one for one in gates.of_aspect("typographic") if one["dataset"] == attacked["dataset"]]
        clean = next(
            (one["details"]["clean"] for one in own if one["metric"] == CLEAN and "clean" in one["details"]), None
        )
        rows = [] if clean is None else [Row(label="no note", value=clean, n=attacked["n"])]
        rows += [gates.row(one, "a blank note") for one in own if one["metric"] == "typographic.top1_blank_note"]
        rows.append(gates.row(attacked, "a note with a wrong word"))
        panels += rows_panel(f"Accuracy with a note, {attacked['dataset']}", rows, note=NOTE)
    success = gates.rows(gates.starting("typographic.attack_success"))
    return panels + rows_panel("Answers with the word on the note", success)
