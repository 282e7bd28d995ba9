"""Retrieval, composition and correspondence: recall over ranks, accuracy by kind of caption, recall by angle."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.bars import Bars, bar_chart
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates, baseline_plot, place_of
from pytest_clip_robust.report.html.match_pictures import match_plots
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.html.row import Row, with_points
from pytest_clip_robust.report.numbers import number

RECALL = re.compile(r"retrieval\.recall_at_(\d+)_(\w+)")
MEAN_RANK = "retrieval.mean_rank_"
RANKS = {"first", "last", "share"}
MOST_LABELS = 8
ANGLES = re.compile(r"(\d+)-(\d+)")


def retrieval_panels(gates: Gates) -> list[Panel]:
    """Return recall over the number of results and the distribution of ranks, for each set and direction."""
    found: dict[tuple[str, str], list[tuple[int, Record]]] = {}
    for record in gates.starting("retrieval.recall_at_"):
        if match := RECALL.fullmatch(record["metric"]):
            found.setdefault((place_of(record), match[2].replace("_", " ")), []).append((int(match[1]), record))
    plots = []
    for (place, direction), pairs in found.items():
        pairs.sort(key=lambda pair: pair[0])
        records = [record for _, record in pairs]
        # The places of 1, 5 and 10 are equally far from each other.
        x = Axis(-0.3, len(pairs) - 0.7, tuple((at, str(k)) for at, (k, _) in enumerate(pairs)), "results")
        values = ", ".join(f"recall at {k}: {number(record['value'])}" for k, record in pairs)
        drawing = _chart(
            records, [float(at) for at in range(len(pairs))], x, title=f"Recall of {place}, {direction}", text=values
        )
        caption = (
            f"{place}, {direction}: {' / '.join(number(one['value']) for one in records)}; n = {records[0]['n']:,}"
        )
        plots.append(Plot(drawing, caption))
    legend = _legend(gates.starting("retrieval.recall_at_"))
    return [*plots_panel("Recall at 1, 5 and 10 results", plots, legend=legend), *_ranks(gates)]


def _ranks(gates: Gates) -> list[Panel]:
    records = [one for one in gates.starting(MEAN_RANK) if set(one["plot"]) >= RANKS]
    compared = any(baseline_plot(one, RANKS) for one in records)
    return plots_panel(
        "Ranks of the right result",
        [_rank_chart(one) for one in records],
        note="How often the best right result has each rank; the first is the best.",
        legend=(("inside", "now"), ("dashed", "before")) if compared else (),
    )


def _rank_chart(record: Record) -> Plot:
    plot, before = record["plot"], baseline_plot(record, RANKS)
    names = [
        f"{first:.0f}" if first == last else f"{first:.0f} to {last:.0f}"
        for first, last in zip(plot["first"], plot["last"], strict=True)
    ]
    bins = [(at - 0.5, at + 0.5) for at in range(len(names))]
    titles = [f"rank {name}: {share:.1%}" for name, share in zip(names, plot["share"], strict=True)]
    series = [Bars(bins, plot["share"], "now", titles)]
    if len(before.get("share", ())) == len(bins):
        series.append(Bars(bins, before["share"], "before"))
    # Bins double in width, so every second label is enough for the others to be read.
    step = 1 if len(names) <= MOST_LABELS else 2
    ticks = tuple((float(at), f"{plot['last'][at]:.0f}") for at in range(0, len(names), step))
    way = record["metric"].removeprefix(MEAN_RANK).replace("_", " ")
    drawing = bar_chart(
        series,
        title=f"Ranks of {place_of(record)}, {way}",
        text=", ".join(titles),
        x=Axis(-0.5, len(names) - 0.5, ticks, "rank, up to"),
        y="share of queries",
    )
    return Plot(drawing, f"{place_of(record)}, {way}: mean rank {number(record['value'])}, n = {record['n']:,}")


def composition_panels(gates: Gates) -> list[Panel]:
    """Return the accuracy on every kind of hard pair, with the accuracies of baselines that do not use the image."""
    rows = [
        with_points(gates.row(record, place_of(record)), _blind_baselines(record))
        for record in gates.of("composition.accuracy")
    ]
    note = "Small dots are baselines that do not use the image; an accuracy near them does not show that it was used."
    return rows_panel("Accuracy by kind of hard caption", rows, note=note)


def word_order_panels(gates: Gates) -> list[Panel]:
    """Return the accuracy on captions against their words in other orders, with the same baselines."""
    rows = [
        with_points(gates.row(record, place_of(record)), _blind_baselines(record))
        for record in gates.of("word_order.accuracy")
    ]
    note = "Small dots are baselines that do not use the image."
    return rows_panel("Accuracy on captions with their words in another order", rows, note=note)


def correspondence_panels(gates: Gates) -> list[Panel]:
    """Return recall by view angle for each distance, and the keypoint accuracy of every class."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in gates.starting("correspondence.recall_"):
        if ANGLES.fullmatch(record["subset"]):
            found.setdefault((record["dataset"], record["metric"]), []).append(record)
    plots = []
    for (dataset, metric), records in found.items():
        records.sort(key=lambda one: int(one["subset"].split("-")[0]))
        bins = [tuple(map(float, one["subset"].split("-"))) for one in records]
        x = Axis(0, bins[-1][1], ((0.0, "0°"), *((end, f"{end:g}°") for _, end in bins)), "view angle")
        values = ", ".join(f"{one['subset']} degrees: {number(one['value'])}" for one in records)
        places = [(low + high) / 2 for low, high in bins]
        distance = metric.removeprefix("correspondence.recall_")
        drawing = _chart(records, places, x, title=f"Recall within {distance} by view angle of {dataset}", text=values)
        plots.append(
            Plot(drawing, f"{dataset}, within {distance}: {' / '.join(number(one['value']) for one in records)}")
        )
    distances = [one for one in gates.starting("correspondence.recall_") if not one["subset"]]
    pairs = [plot for one in distances for plot in match_plots(one, gates.album)]
    return [
        *plots_panel(
            "Matches",
            pairs,
            note="Lines join points that the model takes for the same; a match within 2 cm is right. "
            "These pairs have the most and the fewest right matches.",
            legend=(("right", "right"), ("wrong", "wrong")),
        ),
        *plots_panel("Recall by view angle", plots, legend=_legend(gates.starting("correspondence.recall_"))),
        *rows_panel("Recall by distance, all angles", gates.rows(distances)),
        *_keypoints(gates),
    ]


def _keypoints(gates: Gates) -> list[Panel]:
    panels = []
    for record in gates.starting("correspondence.pck_"):
        classes = [
            (name.removeprefix("class_"), value)
            for name, value in record["details"].items()
            if name.startswith("class_")
        ]
        rows = [Row(label=name, value=value) for name, value in sorted(classes, key=lambda pair: (pair[1], pair[0]))]
        panels += rows_panel(f"Keypoints by class, {record['measurement']}", rows)
    return panels


def _chart(records: Sequence[Record], places: Sequence[float], x: Axis, *, title: str, text: str) -> Markup:
    before = [
        (place, one["change"]["value"]) for one, place in zip(records, places, strict=True) if one["change"] is not None
    ]
    now = [(place, one["value"]) for one, place in zip(records, places, strict=True)]
    spans = [(one["interval"]["low"], one["interval"]["high"]) for one in records]
    lines = [Curve("before", before, "before", dots=True)] if before else []
    return curves([*lines, Curve("now", now, "now", spans, dots=True)], title=title, text=text, x=x, y=share("recall"))


def _legend(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    compared = any(record["change"] is not None for record in records)
    return (("now", "now"), ("before", "before")) if compared else (("now", "with its 95 % interval"),)


def _blind_baselines(record: Record) -> list[tuple[str, float]]:
    return [
        (name.replace("_", " "), value)
        for name, value in sorted(record["details"].items())
        if name in {"blind", "text_only"}
    ]
