"""Retrieval, composition and correspondence: recall over ranks, accuracy by kind of caption, recall by angle."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates, place_of
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.html.row import Row, with_points
from pytest_clip_robust.report.numbers import number

RECALL = re.compile(r"retrieval\.recall_at_(\d+)_(\w+)")
ANGLES = re.compile(r"(\d+)-(\d+)")


def retrieval_panels(gates: Gates) -> list[Panel]:
    """Return recall over the number of results, one chart per set and direction."""
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
    return plots_panel("Recall at 1, 5 and 10 results", plots, legend=_legend(gates.starting("retrieval.recall_at_")))


def composition_panels(gates: Gates) -> list[Panel]:
    """Return the accuracy on every kind of hard pair, with the accuracies of baselines that do not use the image."""
    rows = [
        with_points(gates.row(record, place_of(record)), _blind_baselines(record))
        for record in gates.of("composition.accuracy")
    ]
    note = "Small dots are baselines that do not use the image; an accuracy near them does not show that it was used."
    return rows_panel("Accuracy by kind of hard caption", rows, note=note)


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
    return [
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
