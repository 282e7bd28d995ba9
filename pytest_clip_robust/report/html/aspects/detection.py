"""OOD detection: ROC curves of every set, and AUROC by score."""

from __future__ import annotations

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.numbers import number

AUROC = "ood.auroc_"
ROC = {"false_positive_rate", "true_positive_rate"}


def ood_panels(gates: Gates) -> list[Panel]:
    """Return one chart per set with the curve of every score, and the AUROC of every score with its interval."""
    of_sets: dict[str, list[Record]] = {}
    for record in gates.starting(AUROC):
        of_sets.setdefault(record["dataset"], []).append(record)
    plots = [
        _roc(dataset, records)
        for dataset, records in of_sets.items()
        if any(set(one["plot"]) >= ROC for one in records)
    ]
    panels = plots_panel(
        "ROC curves",
        plots,
        note="In distribution against out of distribution. The strong line is the headline score.",
        legend=(("line", "headline score"), ("other", "other scores")),
    )
    for dataset, records in of_sets.items():
        rows = [
            gates.row(one, one["metric"].removeprefix(AUROC)) for one in sorted(records, key=lambda one: -one["value"])
        ]
        panels += rows_panel(f"AUROC by score, {dataset}", rows)
    return panels


def _roc(dataset: str, records: list[Record]) -> Plot:
    drawn = [one for one in records if set(one["plot"]) >= ROC]
    main = next((one for one in drawn if one["headline"]), max(drawn, key=lambda one: one["value"]))
    lines = [
        Curve(
            one["metric"],
            list(zip(one["plot"]["false_positive_rate"], one["plot"]["true_positive_rate"], strict=True)),
            "now" if one is main else "other",
        )
        for one in (*(one for one in drawn if one is not main), main)
    ]
    values = ", ".join(f"{one['metric'].removeprefix(AUROC)} {number(one['value'])}" for one in drawn)
    drawing = curves(
        lines,
        title=f"ROC curves of {dataset}",
        text=f"AUROC: {values}",
        x=share("false positive rate"),
        y=share("true positive rate"),
        size=(260, 230),
        diagonal=True,
    )
    score = main["metric"].removeprefix(AUROC)
    return Plot(drawing, f"{dataset}: AUROC {number(main['value'])} by {score}, n = {main['n']:,}")
