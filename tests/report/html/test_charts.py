"""Charts: well-formed, announced with a title and their values, and true to their numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.report.html.bars import LOWEST, Bars, bar_chart
from pytest_clip_robust.report.html.charts import BOTTOM, LEFT, RIGHT, TOP, Axis, Curve, curves, reliability, share

share_of = st.floats(0, 1)


def drawn(lines, **options):
    return ET.fromstring(curves(lines, title="t", text="d", x=share("a"), y=share("b"), size=(200, 100), **options))


def test_a_chart_is_an_image_with_a_title_and_a_description():
    chart = drawn([Curve("c", [(0, 0), (1, 1)])])
    assert chart.get("role") == "img"
    assert chart.get("aria-label") == "t. d"
    assert (chart[0].tag, chart[0].text, chart[1].tag, chart[1].text) == ("title", "t", "desc", "d")


def test_points_are_where_their_values_are():
    chart = drawn([Curve("c", [(0, 0), (0.5, 1)])])
    (curve,) = (one for one in chart.iter("path") if one.get("class") == "curve now")
    x, bottom = (LEFT + 200 - RIGHT) / 2, 100 - BOTTOM
    assert curve.get("d") == f"M{LEFT} {bottom}L{x:g} {TOP}"


@given(st.lists(st.tuples(share_of, share_of), max_size=20), st.text())
def test_any_curve_gives_a_well_formed_chart_inside_its_box(points, name):
    chart = curves([Curve(name, points, dots=True)], title=name, text=name, x=share(name), y=share(name))
    ET.fromstring(chart)
    places = [float(value) for value in re.findall(r'c[xy]="([^"]+)"', chart)]
    assert all(0 <= place <= 260 for place in places)


def test_a_reliability_diagram_has_a_bar_per_bin_with_its_numbers():
    plot = {"low": [0.0, 0.5], "high": [0.5, 1.0], "confidence": [0.3, 0.9], "accuracy": [0.2, 0.6], "n": [10.0, 30.0]}
    diagram = ET.fromstring(reliability(plot, title="t", text="d"))
    bars = [one for one in diagram.iter("rect") if one.get("class") == "bin"]
    assert [bar[0].text for bar in bars] == [
        "confidence 0.300, accuracy 0.200, n = 10",
        "confidence 0.900, accuracy 0.600, n = 30",
    ]
    heights = [float(bar.get("height")) for bar in bars]
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.02)
    gaps = [float(one.get("height")) for one in diagram.iter("rect") if one.get("class") == "gap"]
    assert gaps[1] == pytest.approx(3 * gaps[0], abs=0.02)


def test_bins_before_are_circles_that_are_larger_with_more_samples():
    plot = {"low": [0.0, 0.5], "high": [0.5, 1.0], "confidence": [0.3, 0.9], "accuracy": [0.2, 0.6], "n": [10.0, 30.0]}
    few, many = ET.fromstring(reliability(plot, before=plot, title="t", text="d")).iter("circle")
    assert few.get("class") == many.get("class") == "dot before"
    assert 1 < float(few.get("r")) < float(many.get("r"))


SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(SHARES, SHARES)
def test_bars_stand_on_the_axis_and_are_inside_of_the_chart(filled, outlined):
    series = [
        Bars([(i, i + 1) for i in range(len(shares))], shares, kind, [f"<{i}>" for i in range(len(shares))] * titled)
        for shares, kind, titled in ((filled, "now", True), (outlined, "before", False))
    ]
    axis = Axis(0, 9, ())
    chart = ET.fromstring(bar_chart(series, title="t", text="d", x=axis, y="share"))
    bars = [one for one in chart.iter("rect") if one.get("class") == "bar now"]
    assert [one.find("title").text for one in bars] == [f"<{i}>" for i in range(len(filled))]
    (ground,) = {round(float(one.get("y")) + float(one.get("height")), 1) for one in bars}
    heights = [float(one.get("height")) for one in bars]
    assert all(TOP <= float(one.get("y")) <= ground for one in bars)
    for height, value in zip(heights, filled, strict=True):
        expected = max(heights) * value / max(filled) if max(filled) > LOWEST else 0
        assert height == pytest.approx(expected, abs=0.02)
    (outline,) = [one.get("d") for one in chart.iter("path") if one.get("class") == "steps before"]
    points = [tuple(map(float, point.split())) for point in outline.removeprefix("M").split("L")]
    assert points[0][1] == points[-1][1] == pytest.approx(ground, abs=0.1)
    assert len(points) == 2 * len(outlined) + 2


def test_a_chart_without_bars_has_its_axes():
    chart = ET.fromstring(bar_chart([Bars([], [], "now")], title="t", text="d", x=Axis(0, 1, ()), y="share"))
    assert not [one for one in chart.iter() if "now" in one.get("class", "")]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        reliability({"low": [0.0], "high": [], "confidence": [], "accuracy": [], "n": []}, title="t", text="d")
