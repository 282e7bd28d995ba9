"""Prompts: the values of every prompt set, on one axis per kind of value."""

from __future__ import annotations

from pytest_clip_robust.report.html.gates import Gates, place_of
from pytest_clip_robust.report.html.panel import Panel, rows_panel
from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.numbers import number

SPREAD = "prompts.spread_"


def prompt_panels(gates: Gates) -> list[Panel]:
    """Return a panel per kind of value: a row per data set, with a dot per prompt set."""
    panels = []
    for metric in dict.fromkeys(record["metric"] for record in gates.starting(SPREAD)):
        rows = []
        for record in gates.of(metric):
            values = sorted(record["details"].items(), key=lambda pair: (pair[1], pair[0]))
            if not values:
                continue
            middle = sum(value for _, value in values) / len(values)
            label = f"{place_of(record)}, spread {number(record['value'])}"
            rows.append(Row(label=label, value=middle, low=values[0][1], high=values[-1][1], points=tuple(values)))
        panels += rows_panel(
            f"{metric.removeprefix(SPREAD)} by prompt set",
            rows,
            note="Small dots are prompt sets, the large dot is their mean, and the line is their range.",
            half=1.05 * max(max(row.value - (row.low or 0.0), (row.high or 0.0) - row.value) for row in rows)
            if rows
            else 0.0,
        )
    return panels
