"""Large multimodal models: accuracy of the model and of its vision tower, by factor, corruption and category."""

from __future__ import annotations

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.bars import Bars, bar_chart
from pytest_clip_robust.report.html.charts import Axis
from pytest_clip_robust.report.html.gates import Gates, place_of
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.numbers import number

GAIN = "multimodal.gain_over_tower_"
OF_CATEGORY = "gain."
POSITION = "multimodal.position_bias_"
PLACES = {"place", "answers", "truths"}


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
    panels += rows_panel("Accuracy by way of answering", accuracies)
    return panels + _by_category(gates) + _places(gates)


def _by_category(gates: Gates) -> list[Panel]:
    """Return the gain of every category on the headline's set, or else on the first one."""
    records = [one for one in gates.starting(GAIN) if any(name.startswith(OF_CATEGORY) for name in one["details"])]
    if not records:
        return []
    record = next((one for one in records if one["headline"]), records[0])
    rows = [
        Row(label=name.removeprefix(OF_CATEGORY), value=value)
        for name, value in sorted(record["details"].items(), key=lambda item: (item[1], item[0]))
        if name.startswith(OF_CATEGORY)
    ]
    note = "Accuracy of the model minus that of its tower, of each category; below 0 the tower alone is better."
    way = record["metric"].removeprefix(GAIN).replace("_", " ")
    return rows_panel(f"Gain over the tower by category, {place_of(record)}, {way}", rows, note=note)


def _places(gates: Gates) -> list[Panel]:
    """Return how often each place among the options was answered, and how often it was right."""
    records = [one for one in gates.starting(POSITION) if set(one["plot"]) >= PLACES]
    return plots_panel(
        "Answers by the place of the option",
        [_place_chart(one) for one in records],
        note="A model without position bias chooses each place as often as it is right.",
        legend=(("inside", "answered"), ("outside", "right")),
        small=True,
    )


def _place_chart(record: Record) -> Plot:
    plot = record["plot"]
    bins = [(place - 0.4, place + 0.4) for place in plot["place"]]
    titles = [
        f"place {place:.0f}: answered {answered:.1%}, right {right:.1%}"
        for place, answered, right in zip(plot["place"], plot["answers"], plot["truths"], strict=True)
    ]
    way = record["metric"].removeprefix(POSITION).replace("_", " ")
    drawing = bar_chart(
        [Bars(bins, plot["answers"], "now", titles), Bars(bins, plot["truths"], "outside")],
        title=f"Answers by place on {record['dataset']}, {way}",
        text="; ".join(titles),
        x=Axis(0.5, len(bins) + 0.5, tuple((place, f"{place:.0f}") for place in plot["place"]), "place"),
        y="share",
        size=(200, 170),
    )
    return Plot(drawing, f"{record['dataset']}, {way}: position bias {number(record['value'])}")


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
