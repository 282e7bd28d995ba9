"""Parts of panel.html: axes, lines and numbers of charts, drawings of findings, means over sets, families of models."""

from __future__ import annotations

import math
import re
from itertools import combinations

import numpy as np
import pytest
from handmade_panels import model
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import ndtri
from study_panels import Elements, answer

from pytest_clip_robust.core.finding import Status
from pytest_clip_robust.report.html.charts import BOTTOM, LEFT, RIGHT, TOP, Axis
from pytest_clip_robust.report.html.study.axes import EDGE, fitted, line_through, probit, rounded
from pytest_clip_robust.report.html.study.findings import finding_strip
from pytest_clip_robust.report.html.study.headlines import Value, means
from pytest_clip_robust.report.html.study.models import COLOURS, legend_of, panel_models
from pytest_clip_robust.report.html.study.scatter import LABEL, numbers_at

SHARES = st.floats(0, 1)
VALUES = st.floats(-1e4, 1e4)


@given(SHARES)
def test_probit_is_that_of_scipy_inside_of_the_edges(share):
    assert probit(share) == pytest.approx(float(ndtri(np.clip(share, EDGE, 1 - EDGE))), abs=1e-9)


@given(st.lists(VALUES, min_size=1, max_size=9), st.booleans())
def test_every_value_and_tick_is_on_a_straight_axis(values, on_probit):
    assume(not on_probit or not all(0 <= value <= 1 for value in values))
    found = fitted(values, "x", on_probit=on_probit)
    assert all(found.axis.low < found.place(value) < found.axis.high for value in values)
    assert 2 <= len(found.axis.ticks) <= 7
    assert all(found.axis.low - 1e-6 <= at <= found.axis.high + 1e-6 for at, _ in found.axis.ticks)


@given(st.lists(SHARES, min_size=1, max_size=9))
def test_every_share_and_tick_is_on_a_probit_axis(values):
    found = fitted(values, "x", on_probit=True)
    assert all(found.axis.low < found.place(value) < found.axis.high for value in values)
    assert 1 <= len(found.axis.ticks) <= 7
    for at, words in found.axis.ticks:
        assert found.axis.low <= at <= found.axis.high
        assert at == pytest.approx(probit(float(words)), abs=0.01)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_round_numbers_are_evenly_spaced(low, size):
    found = rounded(low, low + size)
    assert 2 <= len(found) <= 6
    assert np.allclose(np.diff(found), found[1] - found[0], rtol=1e-6)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2))
def test_a_line_is_cut_where_it_leaves_the_axes(slope, intercept, at):
    x, y = Axis(-1, 2, ()), Axis(-2, 1, ())
    found = line_through([(at, slope * at + intercept), (at + 1, slope * (at + 1) + intercept)], x, y)
    for a, b in found:
        assert b == pytest.approx(slope * a + intercept, abs=1e-6)
        assert x.low - 1e-6 <= a <= x.high + 1e-6
        assert y.low - 1e-6 <= b <= y.high + 1e-6
    inside = [a for a in np.linspace(x.low, x.high, 301) if y.low < slope * a + intercept < y.high]
    if inside:
        assert found
        assert found[0][0] <= inside[0] + 1e-6
        assert found[1][0] >= inside[-1] - 1e-6


def test_one_place_makes_no_line():
    assert line_through([(0, 0), (0, 1)], Axis(-1, 1, ()), Axis(-1, 1, ())) == []


@given(st.lists(st.tuples(st.floats(LEFT, 314), st.floats(TOP, 222)), max_size=40))
def test_numbers_are_inside_of_the_chart_and_cover_neither_each_other_nor_other_marks(places):
    size = (330, 260)
    found = numbers_at(places, size)
    for x, y in found.values():
        assert LEFT < x < size[0] - RIGHT + 8
        assert TOP < y - 3 < size[1] - BOTTOM
    for (x, y), (other_x, other_y) in combinations(found.values(), 2):
        assert abs(x - other_x) >= LABEL[0] - 1 - 1e-9 or abs(y - other_y) >= LABEL[1] - 1e-9
    for i, (x, y) in found.items():
        for j, (other_x, other_y) in enumerate(places):
            assert i == j or abs(x - other_x) >= LABEL[0] - 1 - 1e-9 or abs(y - 3 - other_y) >= LABEL[1] - 1e-9


def percent(text):
    return float(text.removesuffix("%"))


@given(st.floats(-2, 2), st.floats(0, 2), st.floats(0, 2), st.sampled_from(["above 0", "none"]))
def test_a_drawing_of_a_finding_has_its_parts_in_order(value, below, above, predicts):
    drawn = Elements(
        finding_strip(answer(Status.NOT_DECIDED, value, value - below, value + above, predicts=predicts), 6.0)
    )
    (whisker,) = drawn.of("line", class_="whisker")
    (zero,) = drawn.of("line", class_="zero")
    (band,) = drawn.of("rect", class_="band")
    marks, arrows = drawn.of("svg", class_="now"), drawn.of("svg", class_="beyond")
    assert percent(zero["x1"]) == pytest.approx(50)
    start, width = percent(band["x"]), percent(band["width"])
    assert start + width == pytest.approx(50 + 94 / 12, abs=0.02)
    assert start == pytest.approx(50 if predicts == "above 0" else 50 - 94 / 12, abs=0.02)
    assert 3 <= percent(whisker["x1"]) <= percent(whisker["x2"]) <= 97
    assert len(marks) == (abs(value / 0.1) <= 6)
    assert len(arrows) == sum(abs(end / 0.1) > 6 for end in (value - below, value + above))
    for mark in marks:
        assert percent(mark["x"]) == pytest.approx(50 + 94 * value / 1.2, abs=0.02)


NAMES = st.sampled_from("abc")


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, SHARES, min_size=1), max_size=3))
def test_means_are_over_all_sets_and_of_models_that_have_all(by_set):
    found = means(
        {name: {label: Value(v, v - 0.1, v + 0.2) for label, v in row.items()} for name, row in by_set.items()}
    )
    complete = [label for label in "abc" if by_set and all(label in row for row in by_set.values())]
    assert sorted(found) == complete
    for label, one in found.items():
        mean, n = np.mean([row[label] for row in by_set.values()]), len(by_set)
        expected = (mean, mean - 0.1 / math.sqrt(n), mean + 0.2 / math.sqrt(n))
        assert (one.value, *one.span) == pytest.approx(expected)


def test_a_mean_over_a_set_without_an_interval_has_none():
    assert means({"a": {"m": Value(0.5, 0.4, 0.6)}, "b": {"m": Value(0.7, None, None)}})["m"].span is None


def test_models_are_below_what_they_were_made_from():
    models = [
        model("z"), model("b", group="z", parent="z"), model("a", group="z", parent="b"), model("mix", group="z"),
        model("alone"),
    ]  # fmt: skip
    found = panel_models({one.model: one for one in models})
    assert [(label, one.depth, one.place) for label, one in found.items()] == [
        ("alone", 0, 1), ("z", 0, 2), ("b", 1, 3), ("a", 2, 4), ("mix", 1, 5),
    ]  # fmt: skip


@given(st.dictionaries(NAMES, st.tuples(NAMES, st.sampled_from("abcd"))))
def test_every_model_occurs_once_even_if_models_are_their_own_ancestors(given_models):
    models = {label: model(label, group=group, parent=parent) for label, (group, parent) in given_models.items()}
    found = panel_models(models)
    assert sorted(found) == sorted(models)
    assert [one.place for one in found.values()] == list(range(1, len(models) + 1))


def test_legends_have_what_occurs():
    models = [model("a"), model("b", fine_tuning="contrastive"), model("c", fine_tuning="new way")]
    models += [model(f"m{i}", family=f"F{i}") for i in range(9)]
    colours, shapes = legend_of(panel_models({one.model: one for one in models}))
    assert [(one.kind, one.text) for one in colours] == [
        (COLOURS["zero-shot"], "zero-shot"), (COLOURS["contrastive"], "contrastive"), ("c0", "new way"),
    ]  # fmt: skip
    assert [one.text for one in shapes] == ["ViT", "F0", "F1", "F2", "F3", "F4", "other families"]
    assert len({one.kind for one in shapes}) == 7


def test_a_mark_says_the_name_and_the_six_factors():
    one = model(
        "m", architecture="ViT-B/32", parameters=151_277_313, training_pairs=2e9, samples_seen=34e9, prompts="p"
    )
    found = panel_models({"m": one})["m"].about
    assert re.sub(r"\s+", " ", found) == (
        "1. m: ViT-B/32, 151M parameters; data LAION-2B; pairs 2B, 34B seen; zero-shot; loss softmax; prompts p"
    )
