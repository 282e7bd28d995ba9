"""Corruptions: accuracy over severity for each kind, and the mean accuracy of kinds."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel, rows_panel
from pytest_clip_robust.report.numbers import number

SEVERITIES = Axis(0, 5, tuple((float(one), "clean" if one == 0 else str(one)) for one in range(6)), "severity")


def corruption_panels(gates: Gates) -> list[Panel]:
    """Return one chart per kind, worst kind first, and the mean accuracy of every kind."""
    of_kinds: dict[tuple[str, str], dict[int, Record]] = {}
    for record in gates.of("corruption.top1"):
        kind, _, severity = record["subset"].rpartition("/")
        if severity.isdecimal():
            of_kinds.setdefault((record["dataset"], kind), {})[int(severity)] = record
    clean = {
        (one["dataset"], one["subset"]): one["details"].get("clean")
        for one in gates.of("corruption.relative_robustness")
    }
    order = sorted(of_kinds, key=lambda key: sum(one["value"] for one in of_kinds[key].values()) / len(of_kinds[key]))
    sets = len({dataset for dataset, _ in order})
    plots = [
        _chart(key, of_kinds[key], clean.get(key), name=" of ".join(key[::-1]) if sets > 1 else key[1]) for key in order
    ]
    compared = any(one["change"] is not None for severities in of_kinds.values() for one in severities.values())
    means = sorted(gates.of("corruption.mean_top1", subsets=True), key=lambda one: one["value"])
    return [
        *plots_panel(
            "Accuracy over severity",
            plots,
            note="Worst kind first.",
            legend=(("now", "now"), *((("before", "before"),) if compared else ())),
            small=True,
        ),
        *rows_panel(
            "Mean accuracy of each kind", gates.rows(means, by="subset"), note="Over its severities; worst first."
        ),
    ]


def _chart(key: tuple[str, str], of_severity: dict[int, Record], clean: float | None, *, name: str) -> Plot:
    records = [of_severity[severity] for severity in sorted(of_severity)]
    places = [float(severity) for severity in sorted(of_severity)]
    now = [one["value"] for one in records]
    start = [] if clean is None else [(0.0, clean)]
    spans = [(one["interval"]["low"], one["interval"]["high"]) for one in records]
    lines = [
        *_before(records, places),
        Curve("intervals", list(zip(places, now, strict=True)), "now", spans, dots=True),
    ]
    if start:
        lines.append(Curve("now", [*start, (places[0], now[0])], "now"))
    values = ", ".join(f"severity {place:.0f}: {number(value)}" for place, value in zip(places, now, strict=True))
    text = values if clean is None else f"clean: {number(clean)}, {values}"
    title = f"Accuracy of {key[0]} under {key[1]}"
    drawing = curves(lines, title=title, text=text, x=SEVERITIES, y=share("top-1"), size=(200, 170))
    return Plot(drawing, f"{name}: {', '.join(number(value) for value in now)}; n = {records[0]['n']:,}")


def _before(records: Sequence[Record], places: Sequence[float]) -> list[Curve]:
    points = [
        (place, one["change"]["value"]) for one, place in zip(records, places, strict=True) if one["change"] is not None
    ]
    return [Curve("before", points, "before", dots=True)] if points else []
