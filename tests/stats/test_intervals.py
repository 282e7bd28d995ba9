from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import clopper_pearson, ratio_of_proportions, wilson, wilson_of_mean

PROPORTIONS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def wilson_by_hand(k, n, z=1.959963984540054):
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return centre - half, centre + half


@given(PROPORTIONS)
def test_wilson_is_the_closed_form(proportion):
    low, high = wilson_by_hand(*proportion)
    interval = wilson(*proportion)
    assert interval.low == pytest.approx(max(0, low), abs=1e-9)
    assert interval.high == pytest.approx(min(1, high), abs=1e-9)
    mean = wilson_of_mean(proportion[0] / proportion[1], proportion[1])
    assert (mean.low, mean.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(PROPORTIONS)
def test_clopper_pearson_is_the_beta_quantiles(proportion):
    k, n = proportion
    interval = clopper_pearson(k, n)
    assert interval.low == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1) if k else 0, abs=1e-9)
    assert interval.high == pytest.approx(stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1, abs=1e-9)


@given(PROPORTIONS, PROPORTIONS.filter(lambda proportion: proportion[0] > 0))
def test_a_ratio_lies_in_its_interval(proportion, base):
    interval = ratio_of_proportions(*proportion, *base)
    ratio = (proportion[0] / proportion[1]) / (base[0] / base[1])
    assert interval.low - 1e-12 <= ratio <= interval.high + 1e-12


def test_the_ratio_is_katz_by_hand():
    interval = ratio_of_proportions(40, 100, 60, 120)
    error = 1.959963984540054 * math.sqrt(1 / 40 - 1 / 100 + 1 / 60 - 1 / 120)
    assert interval.low == pytest.approx(0.8 * math.exp(-error))
    assert interval.high == pytest.approx(0.8 * math.exp(error))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_proportion_is_refused(successes, n):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(MeasurementError, match="is no proportion"):
            interval(successes, n)


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(MeasurementError, match="a ratio to 0 of 10 is not defined"):
        ratio_of_proportions(3, 10, 0, 10)
