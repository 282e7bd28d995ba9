"""OOD detection: ROC curves and scores of every set, and AUROC by score."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.bars import Bars, bar_chart
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates, baseline_plot, before_curve
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.html.study.axes import rounded
from pytest_clip_robust.report.numbers import MINUS, number

AUROC = "ood.auroc_"
ROC = {"false_positive_rate", "true_positive_rate"}
SIDES = ("inside", "outside")
HISTOGRAM = {*SIDES, "low", "high"}


def ood_panels(gates: Gates) -> list[Panel]:
    """Return the curves of every score, the values of the headline score, and every AUROC, for each set."""
    of_sets: dict[str, list[Record]] = {}
    for record in gates.starting(AUROC):
        of_sets.setdefault(record["dataset"], []).append(record)
    plots = [
        _roc(dataset, records)
        for dataset, records in of_sets.items()
        if any(set(one["plot"]) >= ROC for one in records)
    ]
    main = [_main(records) for records in of_sets.values()]
    compared = any(baseline_plot(one, ROC) for one in main)
    panels = plots_panel(
        "ROC curves",
        plots,
        note="In distribution against out of distribution. The strong line is the headline score.",
        legend=(
            ("line", "headline score"),
            ("other", "other scores"),
            *((("dashed", "headline score before"),) if compared else ()),
        ),
    )
    panels += plots_panel(
        "Scores",
        [_scores(one) for one in main if set(one["plot"]) >= HISTOGRAM],
        note="How often the headline score has each value. The less the two sets overlap, the better.",
        legend=(
            ("inside", "in distribution"),
            ("outside", "out of distribution"),
            *((("dashed", "both before"),) if compared else ()),
        ),
    )
    for dataset, records in of_sets.items():
        rows = [
            gates.row(one, one["metric"].removeprefix(AUROC)) for one in sorted(records, key=lambda one: -one["value"])
        ]
        panels += rows_panel(f"AUROC by score, {dataset}", rows)
    return panels


def _main(records: Sequence[Record]) -> Record:
    """Return the record of the headline score, or else of the best one."""
    return next((one for one in records if one["headline"]), max(records, key=lambda one: one["value"]))


def _scores(record: Record) -> Plot:
    now, before = record["plot"], baseline_plot(record, HISTOGRAM)
    width = now["high"][0] - now["low"][0]
    low, high = (end([*now[name], *before.get(name, ())]) for end, name in ((min, "low"), (max, "high")))
    score = record["metric"].removeprefix(AUROC)
    bins = list(zip(now["low"], now["high"], strict=True))
    titles = [
        f"{number(a)} to {number(b)}: {inside:.1%} of ID, {outside:.1%} of OOD"
        for (a, b), inside, outside in zip(bins, now["inside"], now["outside"], strict=True)
    ]
    series = [Bars(bins, now["inside"], "inside", titles), Bars(bins, now["outside"], "outside")]
    if before:
        # Bins before can have another width; a bar is as high as if it had that of today.
        scale = width / (before["high"][0] - before["low"][0])
        earlier = list(zip(before["low"], before["high"], strict=True))
        series += [Bars(earlier, [scale * one for one in before[name]], f"{name} before") for name in SIDES]
    drawing = bar_chart(
        series,
        title=f"Values of {score} on {record['dataset']} and in distribution",
        text=f"AUROC {number(record['value'])}; scores from {number(low)} to {number(high)}",
        x=Axis(low, high, tuple((mark, f"{mark:g}".replace("-", MINUS)) for mark in rounded(low, high)), score),
        y="share of samples",
    )
    return Plot(drawing, f"{record['dataset']}: {score}, AUROC {number(record['value'])}")


def _roc(dataset: str, records: list[Record]) -> Plot:
    drawn = [one for one in records if set(one["plot"]) >= ROC]
    main = _main(drawn)
    scores = [
        Curve(
            one["metric"],
            list(zip(one["plot"]["false_positive_rate"], one["plot"]["true_positive_rate"], strict=True)),
            "now" if one is main else "other",
        )
        for one in (*(one for one in drawn if one is not main), main)
    ]
    lines = [*scores[:-1], *before_curve(main, "false_positive_rate", "true_positive_rate"), scores[-1]]
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
