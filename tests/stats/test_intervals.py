from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import PROPORTIONS

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import (
    mean_interval,
    ratio_of_proportions,
    wilson,
    wilson_of_mean,
    without_spread,
)


def wilson_by_hand(k, n, z=1.959963984540054):
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return centre - half, centre + half


@given(PROPORTIONS)
def test_wilson_equals_the_closed_form(proportion):
    low, high = wilson_by_hand(*proportion)
    interval = wilson(*proportion)
    assert interval.low == pytest.approx(max(0, low), abs=1e-9)
    assert interval.high == pytest.approx(min(1, high), abs=1e-9)
    mean = wilson_of_mean(proportion[0] / proportion[1], proportion[1])
    assert (mean.low, mean.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(PROPORTIONS, PROPORTIONS.filter(lambda proportion: proportion[0] > 0))
def test_a_ratio_is_in_its_interval(proportion, base):
    interval = ratio_of_proportions(*proportion, *base)
    ratio = (proportion[0] / proportion[1]) / (base[0] / base[1])
    assert interval.low - 1e-12 <= ratio <= interval.high + 1e-12


def test_the_ratio_equals_katz_by_hand():
    interval = ratio_of_proportions(40, 100, 60, 120)
    error = 1.959963984540054 * math.sqrt(1 / 40 - 1 / 100 + 1 / 60 - 1 / 120)
    assert interval.low == pytest.approx(0.8 * math.exp(-error))
    assert interval.high == pytest.approx(0.8 * math.exp(error))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_a_value_that_is_not_a_proportion_is_an_error(successes, n):
    with pytest.raises(MeasurementError, match="is not a proportion"):
        wilson(successes, n)


def test_a_ratio_to_zero_is_an_error():
    with pytest.raises(MeasurementError, match="a ratio to 0 of 10 is not defined"):
        ratio_of_proportions(3, 10, 0, 10)


@given(st.integers(1, 5000), st.booleans())
def test_outcomes_without_spread_have_the_interval_of_a_proportion(n, success):
    found, expected = without_spread(float(success), n, bounds=(0.0, 1.0)), wilson(n * success, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    scaled = without_spread(-8.0 + 8 * success, n, bounds=(-8.0, 0.0))
    assert (scaled.low, scaled.high) == pytest.approx((8 * expected.low - 8, 8 * expected.high - 8), abs=1e-7)


@given(st.integers(2, 500), st.floats(0, 1))
def test_a_mean_of_equal_values_has_an_interval_of_positive_width(n, value):
    interval = mean_interval(np.full(n, value), bounds=(0.0, 1.0))
    assert interval.low - 1e-12 <= value <= interval.high + 1e-12
    assert interval.high - interval.low > 0.1 / n


def test_a_ratio_of_two_perfect_sets_has_an_interval_of_positive_width():
    interval = ratio_of_proportions(3, 3, 12, 12)
    assert interval.low == pytest.approx(wilson(3, 3).low)
    assert interval.high == pytest.approx(1 / wilson(12, 12).low)
