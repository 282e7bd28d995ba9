"""Invariance: the share of right answers that stay under stronger and stronger transformations."""

from __future__ import annotations

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates, baseline_plot, before_curve
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.html.study.axes import rounded
from pytest_clip_robust.report.numbers import number

RADIUS = "invariance.radius_"
KEPT = ("strength", "share_kept")


def invariance_panels(gates: Gates) -> list[Panel]:
    """Return a chart per transformation, and the share of answers that stay under each change, lowest first."""
    records = [one for one in gates.starting(RADIUS) if set(one["plot"]) >= set(KEPT)]
    records.sort(key=lambda one: sum(one["plot"]["share_kept"]) / len(one["plot"]["share_kept"]))
    before = (("before", "before"),) if any(baseline_plot(one, KEPT) for one in records) else ()
    panels = plots_panel(
        "Right answers that stay, by strength",
        [_chart(one) for one in records],
        note="Of the images that are right without a change. Strengths are in the units of each transformation.",
        legend=(("now", "now"), *before) if before else (),
        small=True,
    )
    for metric, title in (
        ("invariance.agreement", "Answers that stay under one transformation of the image"),
        ("invariance.text_agreement", "Answers that stay under another wording of the prompts"),
    ):
        rows = gates.rows(gates.of(metric, subsets=True), by="subset")
        panels += rows_panel(title, sorted(rows, key=lambda row: (row.value, row.label)))
    return panels


def _chart(record: Record) -> Plot:
    strengths, kept = record["plot"]["strength"], record["plot"]["share_kept"]
    name, largest = record["metric"].removeprefix(RADIUS), max(strengths)
    points = [(0.0, 1.0), *zip(strengths, kept, strict=True)]
    earlier = [Curve(one.name, [(0.0, 1.0), *one.points], one.kind) for one in before_curve(record, *KEPT)]
    drawing = curves(
        [*earlier, Curve("now", points, "now", dots=True)],
        title=f"Right answers of {record['dataset']} that stay under {name}",
        text=", ".join(f"{number(a)}: {number(b)}" for a, b in points),
        x=Axis(0, largest, tuple((mark, f"{mark:g}") for mark in rounded(0, largest)), "strength"),
        y=share("share that stays"),
        size=(200, 170),
    )
    return Plot(drawing, f"{name}: median strength {number(record['value'])}, n = {record['n']:,}")
