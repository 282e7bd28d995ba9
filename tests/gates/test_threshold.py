from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.core.plain import read_section
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import Threshold, is_headline, most_specific

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


def read(table):
    return read_section(Threshold, table, where="threshold 'm'", source="profile x")


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.5), (math.nan, 0.5), (0.5, math.nan)])
def test_an_impossible_range_is_refused(low, high):
    with pytest.raises(ConfigError, match="so no value passes"):
        Threshold(at_least=low, at_most=high)


def test_a_threshold_without_bounds_is_refused():
    with pytest.raises(ConfigError, match=r"threshold 'm': a threshold needs a bound; give at_least or at_most"):
        read({})


def test_a_misspelt_bound_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown key 'at_leest' \(did you mean 'at_least'"):
        read({"at_leest": 0.5})


def test_where_it_was_written_is_not_a_key():
    assert read({"at_least": 0.5}).source == "profile x"
    with pytest.raises(ConfigError, match="unknown key 'source'; expected at_least, at_most"):
        read({"at_least": 0.5, "source": "mine"})


@pytest.mark.parametrize("bound", ["0.5", True, None, [0.5], math.nan, math.inf, 10**400])
def test_a_bound_that_is_not_a_finite_number_is_refused(bound):
    with pytest.raises(ConfigError, match=r"threshold 'm'.at_least=.*; expected a .*number"):
        read({"at_least": bound})


def test_a_bare_number_is_refused():
    with pytest.raises(ConfigError, match=r"threshold 'm' is 0.5; expected a table"):
        read(0.5)


def test_the_most_specific_key_wins():
    general, of_set, of_subset = (Threshold(at_least=bound) for bound in (0.1, 0.2, 0.3))
    thresholds = {"m": general, "m[photos]": of_set, "m[photos/pose]": of_subset}
    assert most_specific(measurement(metric="m", subset="pose"), thresholds) is of_subset
    assert most_specific(measurement(metric="m", subset="style"), thresholds) is of_set
    assert most_specific(measurement(metric="m", dataset="night"), thresholds) is general
    assert most_specific(measurement(metric="other"), thresholds) is None


@pytest.mark.parametrize(
    ("chosen", "of_set", "of_part"),
    [
        ({"zero_shot.top1"}, True, False),
        ({"zero_shot.top1[photos]"}, True, False),
        ({"zero_shot.top1[photos/red]"}, False, True),
        ({"zero_shot.top5"}, False, False),
        (None, True, True),
    ],
)
def test_a_profile_chooses_headlines_one_by_one(chosen, of_set, of_part):
    assert is_headline(measurement(), chosen) is of_set
    assert is_headline(measurement(subset="red"), chosen) is of_part
    assert not is_headline(measurement(headline=False), None)
