"""Calibration: reliability diagrams before and after temperature scaling, and risk over coverage."""

from __future__ import annotations

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Curve, curves, reliability, share
from pytest_clip_robust.report.html.gates import Gates, baseline_plot, before_curve
from pytest_clip_robust.report.html.panel import Panel, Plot, plots_panel
from pytest_clip_robust.report.numbers import count, number

BINS = {"low", "high", "confidence", "accuracy", "n"}
RISK = {"coverage", "risk"}


def calibration_panels(gates: Gates) -> list[Panel]:
    """Return the reliability diagrams and risk-coverage curves of every set."""
    diagrams = [
        _diagram(record, way)
        for plain in gates.of("calibration.ece_15_equal_width")
        for record, way in (
            (plain, "as it is"),
            *((one, "after temperature scaling") for one in gates.of("calibration.ece_15_equal_width_scaled")),
        )
        if record["dataset"] == plain["dataset"] and record["subset"] == plain["subset"] and set(record["plot"]) >= BINS
    ]
    compared = any(baseline_plot(one, BINS) for one in gates.of_aspect("calibration"))
    note = (
        "Bars show the accuracy of each bin of confidence, darker with more samples. Hatched is the gap to the mean "
        "confidence: below the diagonal a model is overconfident."
        + (" Circles are the model before, larger with more samples." if compared else "")
    )
    risks = [_risk(record) for record in gates.of("calibration.aurc") if set(record["plot"]) >= RISK]
    return [
        *plots_panel(
            "Reliability",
            diagrams,
            note=note,
            legend=(
                ("bin", "accuracy"),
                ("gap", "gap to the mean confidence"),
                *((("before", "accuracy before"),) if compared else ()),
            ),
            small=True,
        ),
        *plots_panel(
            "Risk over coverage",
            risks,
            note="The error among the most confident samples; a good ranking by confidence stays low until the end.",
            legend=(("line", "now"), ("dashed", "before")) if compared else (),
            small=True,
        ),
    ]


def _diagram(record: Record, way: str) -> Plot:
    details = record["details"]
    error = f"ECE {number(record['value'])}"
    title = f"Reliability of {record['dataset']}, {way}"
    text = f"{error}; {count(len(record['plot']['n']), 'bin')} with samples"
    parts = [f"{record['dataset']}, {way}: {error}"]
    if {"accuracy", "mean_confidence"} <= set(details):
        means = f"mean confidence {number(details['mean_confidence'])}, accuracy {number(details['accuracy'])}"
        text, parts = f"{text}; {means}", [*parts, means]
    if way != "as it is" and "temperature" in details:
        parts.append(f"temperature {number(details['temperature'])}")
    parts.append(f"n = {record['n']:,}")
    drawing = reliability(record["plot"], before=baseline_plot(record, BINS), title=title, text=text)
    return Plot(drawing, "; ".join(parts))


def _risk(record: Record) -> Plot:
    points = list(zip(record["plot"]["coverage"], record["plot"]["risk"], strict=True))
    drawing = curves(
        [*before_curve(record, "coverage", "risk"), Curve("risk", points)],
        title=f"Risk over coverage of {record['dataset']}",
        text=f"area under the curve {number(record['value'])}; error on all samples {number(points[-1][1])}",
        x=share("coverage"),
        y=share("error"),
        size=(200, 170),
    )
    return Plot(drawing, f"{record['dataset']}: AURC {number(record['value'])}, n = {record['n']:,}")
