"""Corruptions: accuracy over severity for each kind with an image under it, and the mean accuracy of kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Axis, Curve, curves, share
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel, Plot, Still, plots_panel, rows_panel
from pytest_clip_robust.report.html.pictures import Album, Shot
from pytest_clip_robust.report.numbers import number

ACCURACY = "corruption.top1"

ILLUSTRATED = 6
"""Kinds, the worst ones, with pictures of one image at each severity."""

Kind = tuple[str, str]
"""A data set and a kind of corruption."""

SEVERITIES = Axis(0, 5, tuple((float(one), "clean" if one == 0 else str(one)) for one in range(6)), "severity")


def corruption_panels(gates: Gates) -> list[Panel]:
    """Return one chart per kind, worst kind first, and the mean accuracy of every kind."""
    of_kinds = _of_kinds(gates.of(ACCURACY))
    shots = _shots_of_kinds(of_kinds)
    clean = {
        (one["dataset"], one["subset"]): one["details"].get("clean")
        for one in gates.of("corruption.relative_robustness")
    }
    sets = len({dataset for dataset, _ in of_kinds})
    plots = [
        replace(
            _chart(key, records, clean.get(key), name=" of ".join(key[::-1]) if sets > 1 else key[1]),
            stills=_stills(shots.get(key, ()), gates.album),
        )
        for key, records in of_kinds.items()
    ]
    note = "Worst kind first."
    if any(plot.stills for plot in plots):
        note = f"{note} The pictures are one image at each severity, which the model gets wrong under the worst kind."
    compared = any(one["change"] is not None for severities in of_kinds.values() for one in severities.values())
    means = sorted(gates.of("corruption.mean_top1", subsets=True), key=lambda one: one["value"])
    return [
        *plots_panel(
            "Accuracy over severity",
            plots,
            note=note,
            legend=(("now", "now"), *((("before", "before"),) if compared else ())),
            small=True,
        ),
        *rows_panel(
            "Mean accuracy of each kind", gates.rows(means, by="subset"), note="Over its severities; worst first."
        ),
    ]


def corruption_shots(records: Sequence[Record]) -> list[Shot]:
    """Return the pictures for the charts of one model: one image under each of the worst kinds, worst first."""
    accuracies = [one for one in records if one.get("metric") == ACCURACY]
    return list(dict.fromkeys(shot for shots in _shots_of_kinds(_of_kinds(accuracies)).values() for shot in shots))


def _of_kinds(records: Sequence[Record]) -> dict[Kind, dict[int, Record]]:
    """Return the accuracies of each kind by severity, worst kind first."""
    found: dict[Kind, dict[int, Record]] = {}
    for record in records:
        kind, _, severity = record["subset"].rpartition("/")
        if severity.isdecimal():
            found.setdefault((record["dataset"], kind), {})[int(severity)] = record
    means = {key: sum(one["value"] for one in own.values()) / len(own) for key, own in found.items()}
    return {key: dict(sorted(found[key].items())) for key in sorted(found, key=lambda key: (means[key], key))}


def _shots_of_kinds(of_kinds: Mapping[Kind, Mapping[int, Record]]) -> dict[Kind, tuple[Shot, ...]]:
    """Return the image of each set, clean and at every severity, for the worst kinds."""
    samples: dict[str, str] = {}
    for (dataset, _), records in of_kinds.items():
        wrong = [miss["sample"] for record in reversed(list(records.values())) for miss in record["misses"]]
        if wrong:
            samples.setdefault(dataset, wrong[0])
    worst = [key for key in of_kinds if key[0] in samples][:ILLUSTRATED]
    return {
        (dataset, kind): (
            Shot(dataset, samples[dataset]),
            *(Shot(dataset, samples[dataset], f"{kind}/{severity}") for severity in of_kinds[dataset, kind]),
        )
        for dataset, kind in worst
    }


def _stills(shots: Sequence[Shot], album: Album) -> tuple[Still, ...]:
    found = []
    for shot in shots:
        kind, _, severity = shot.corruption.rpartition("/")
        picture = album.name_of(*shot)
        if picture:
            text = f"{shot.sample} under {kind} at severity {severity}" if kind else f"{shot.sample} as it is"
            found.append(Still(picture, text, severity or "clean"))
    return tuple(found)


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
