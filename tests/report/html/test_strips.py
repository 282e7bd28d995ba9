"""Rows as drawings: everything is inside the strip, and to the right is better."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.report.html.row import Row
from pytest_clip_robust.report.html.strips import (
    SHAPES,
    centred_axis,
    change_limit,
    change_strip,
    value_axis,
    value_strip,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)
rows = st.builds(
    Row,
    label=st.text(),
    value=numbers,
    lower_is_better=st.booleans(),
    low=st.none() | numbers,
    high=st.none() | numbers,
    before=st.none() | numbers,
    bound=st.none() | numbers,
    chance=st.none() | numbers,
    points=st.lists(st.tuples(st.text(), numbers), max_size=3).map(tuple),
)


def change(difference, *, low=None, high=None, tolerance=0.01):
    return {"difference": difference, "low": low or difference, "high": high or difference, "tolerance": tolerance}


def positions(svg):
    """Return the places, in percent, of the drawing's elements by their class."""
    found = {}
    for one in ET.fromstring(svg).iter():
        x = one.get("cx") or one.get("x1") or one.get("x")
        if one.get("class") and x and x.endswith("%"):
            found.setdefault(one.get("class").split()[0], []).append(float(x.removesuffix("%")))
    return found


@given(st.lists(rows, min_size=1, max_size=4))
def test_every_drawing_is_well_formed_and_inside_the_strip(some):
    for svg in (value_strip(some), value_strip(some, value_axis(some)), value_strip(some, centred_axis(some[0], 0.1))):
        ET.fromstring(svg)
        places = [float(place) for place in re.findall(r'(?:cx|x1|x2)="([^"%]+)%"', svg)]
        assert places
        assert all(0 <= place <= 100 for place in places)


def test_shares_are_drawn_from_0_to_1_and_other_values_from_their_smallest_to_their_largest():
    assert (value_axis([Row(label="a", value=0.4)]).low, value_axis([Row(label="a", value=0.4)]).high) == (0, 1)
    wide = value_axis([Row(label="a", value=2.0), Row(label="b", value=5.0)])
    assert wide.low < 2.0
    assert wide.high > 5.0


def test_a_centred_axis_has_the_value_in_its_middle():
    axis = centred_axis(Row(label="a", value=0.7), 0.02)
    assert (axis(0.7), axis(0.68), axis(0.8)) == (pytest.approx(50), pytest.approx(2), 98)


def test_an_interval_that_reaches_out_of_0_to_1_does_not_change_the_axis():
    assert value_axis([Row(label="a", value=0.02, low=-0.01, high=0.05)]).low == 0


@pytest.mark.parametrize("lower", [False, True])
def test_the_better_value_is_to_the_right(lower):
    row = Row(label="a", value=0.3, before=0.6, bound=0.4, lower_is_better=lower)
    found = positions(value_strip([row]))
    assert (found["now"][0] > found["before"][0]) is lower
    assert (found["now"][0] > found["bound"][0]) is lower


@pytest.mark.parametrize(("lower", "difference"), [(False, -0.02), (True, 0.02)])
def test_a_loss_is_to_the_left_of_no_change(lower, difference):
    row = Row(label="a", value=0.3, lower_is_better=lower, change=change(difference, low=-0.03, high=0.03))
    found = positions(change_strip([row], 4.0))
    assert found["now"][0] == pytest.approx(2 + 96 * (4 - 2) / 8)
    assert found["zero"][0] == pytest.approx(50)


def test_a_change_beyond_the_axis_is_an_arrow_at_its_end():
    loss = Row(label="a", value=0.3, change=change(-0.9))
    assert change_limit([loss]) == 12
    drawing = ET.fromstring(change_strip([loss], 12.0))
    (arrow,) = drawing.iter("polygon")
    assert arrow.get("points") == SHAPES["left"]
    assert positions(change_strip([loss], 12.0))["now"] == [2]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_has_a_shape_of_its_own(verdict):
    drawing = ET.fromstring(value_strip([Row(label="a", value=0.3, verdict=verdict)]))
    shapes = [one.get("points") for one in drawing.iter("polygon")]
    assert shapes == ([] if verdict == Verdict.PASSED else [SHAPES[verdict]])
    assert positions(value_strip([Row(label="a", value=0.3, verdict=verdict)]))["now"] == [pytest.approx(2 + 96 * 0.3)]


def test_a_row_without_a_change_or_a_tolerance_has_an_empty_lane():
    for row in (Row(label="a", value=0.3), Row(label="a", value=0.3, change=change(0.1, tolerance=0.0))):
        assert "now" not in positions(change_strip([row], 4.0))
    assert change_limit([Row(label="a", value=0.3)]) == 3


def test_screen_readers_pass_over_a_strip():
    assert ET.fromstring(value_strip([Row(label="a", value=0.3)])).get("aria-hidden") == "true"
