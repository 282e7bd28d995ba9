"""Charts: well-formed, announced with a title and their values, and true to their numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.report.html.charts import BOTTOM, LEFT, RIGHT, TOP, Curve, curves, reliability, share

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


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        reliability({"low": [0.0], "high": [], "confidence": [], "accuracy": [], "n": []}, title="t", text="d")
