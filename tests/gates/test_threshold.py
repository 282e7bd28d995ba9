from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import Threshold, most_specific, threshold_from_table

finite = st.floats(-1e6, 1e6)


def measurement(**changes):
    fields = {
        "metric": "zero_shot.top1",
        "value": 0.6,
        "n": 100,
        "interval": Interval(0.5, 0.7, 0.95, "Wilson"),
        "direction": "higher",
        "tolerance": 0.01,
        "headline": True,
        "dataset": "photos",
    }
    return Measurement(**(fields | changes))


def test_bounds_belong_to_the_range():
    assert Threshold(at_least=0.5).admits(0.5)
    assert Threshold(at_most=0.5).admits(0.5)
    assert not Threshold(at_least=0.5).admits(np.nextafter(0.5, 0))


@given(finite, finite, finite)
def test_the_named_bound_is_violated_exactly_when_the_value_is_refused(low, high, value):
    low, high = min(low, high), max(low, high)
    threshold = Threshold(at_least=low, at_most=high)
    bound = threshold.bound_for(value)
    assert bound in {low, high}
    assert threshold.admits(value) == (low <= value <= high)
    if value < low:
        assert bound == low
    if value > high:
        assert bound == high


def test_an_impossible_range_is_refused():
    with pytest.raises(ConfigError, match="can never be met"):
        Threshold(at_least=0.6, at_most=0.5)
    with pytest.raises(ConfigError, match="can never be met"):
        Threshold(at_least=math.nan)


def test_a_threshold_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="gates nothing"):
        threshold_from_table({}, key="zero_shot.top1", source="profile x")


def test_a_misspelt_bound_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown key 'at_leest' \(did you mean 'at_least'"):
        threshold_from_table({"at_leest": 0.5}, key="zero_shot.top1", source="profile x")


@pytest.mark.parametrize("bound", ["0.5", True, None, [0.5]])
def test_a_bound_that_is_no_number_is_refused(bound):
    with pytest.raises(ConfigError, match="is not a number"):
        threshold_from_table({"at_least": bound}, key="zero_shot.top1", source="profile x")


def test_a_bare_number_is_answered_with_an_example():
    with pytest.raises(ConfigError, match=r"expected a table such as \{ at_least = 0.5 \}"):
        threshold_from_table(0.5, key="zero_shot.top1", source="profile x")


def test_the_most_specific_key_wins():
    general, of_set, of_subset = (Threshold(at_least=bound) for bound in (0.1, 0.2, 0.3))
    thresholds = {"m": general, "m[photos]": of_set, "m[photos/pose]": of_subset}
    assert most_specific(measurement(metric="m", subset="pose"), thresholds) is of_subset
    assert most_specific(measurement(metric="m", subset="style"), thresholds) is of_set
    assert most_specific(measurement(metric="m", dataset="night"), thresholds) is general
    assert most_specific(measurement(metric="other"), thresholds) is None
