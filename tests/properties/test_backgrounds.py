"""Tests of the accuracy on common and uncommon backgrounds, and of what the change costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import backgrounds
from pytest_clip_robust.scoring.decisions import Decisions


def decisions(rows, **columns):
    """Return the decisions on rows of (class, on an uncommon background, correct)."""
    labels, counter, correct = (np.array(column) for column in zip(*rows, strict=True))
    return Decisions(
        dataset="animals",
        correct=correct.astype(bool),
        labels=labels.astype(np.int64),
        samples=[f"{i}.jpg" for i in range(len(rows))],
        annotations=columns or {"counter_background": counter.astype(bool)},
        class_names=("ostrich", "ice bear", "black swan", "bulbul"),
    )


def by_hand(rows):
    """Return the (classes, 2) accuracies of all classes with images in both groups."""
    groups = [[[ok for c, g, ok in rows if (c, g) == (one, group)] for group in (False, True)] for one in range(4)]
    return np.array([[np.mean(group) for group in one] for one in groups if all(one)])


ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=40).map(
    lambda drawn: [*drawn, *((c, g, True) for c in (0, 1) for g in (False, True))]
)


@given(ROWS)
def test_the_drop_is_the_mean_over_classes_with_both_groups(rows):
    found, expected = backgrounds.drop(decisions(rows)), by_hand(rows)
    assert (found.key, found.direction, found.n) == ("backgrounds.drop[animals]", "lower", len(expected))
    assert found.value == pytest.approx((expected[:, 0] - expected[:, 1]).mean())
    assert found.details["common"] - found.details["counter"] == pytest.approx(found.value)
    assert found.interval.low <= found.value <= found.interval.high
    assert -1 <= found.interval.low <= found.interval.high <= 1


def test_the_interval_is_that_of_scipy_for_pairs_of_classes():
    rows = [
        (c, g, i < n)
        for c, ns in enumerate([(9, 5), (8, 7), (10, 4), (6, 6)])
        for g, n in enumerate(ns)
        for i in range(10)
    ]
    found, accuracies = backgrounds.drop(decisions(rows)), by_hand(rows)
    expected = ttest_rel(accuracies[:, 0], accuracies[:, 1]).confidence_interval(found.interval.level)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert found.remark == "largest for black swan"
    assert found.details["largest_drop"] == pytest.approx(0.6)


def test_the_accuracy_of_a_group_gives_every_class_the_same_weight():
    rows = [(0, True, True)] * 9 + [(1, True, False)] + [(0, False, True), (1, False, True)]
    counter, common = (backgrounds.accuracy(decisions(rows), group) for group in ("counter", "common"))
    assert (counter.value, common.value) == (0.5, 1.0)
    assert (counter.n, common.n) == (10, 2)
    assert (counter.headline, common.headline) == (True, False)
    assert counter.key == "backgrounds.mean_per_class[animals/counter]"


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda: backgrounds.drop(decisions([(0, True, True), (0, False, True)])), "1 classes .* expected 2 or more"),
        (lambda: backgrounds.accuracy(decisions([(0, True, True)]), "common"), "no image is of the group 'common'"),
        (lambda: backgrounds.accuracy(decisions([(0, True, True)]), "rare"), "group='rare'; expected one of common"),
        (
            lambda: backgrounds.drop(decisions([(0, True, True)], pose=np.array([True]))),
            "does not say which backgrounds",
        ),
    ],
)
def test_what_cannot_be_measured_is_an_error(measure, message):
    with pytest.raises(MeasurementError, match=message):
        measure()
