"""Means and rank correlations over models, against SciPy, and what their intervals promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_clip_robust.core.finding import Effect
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.across_models import Z, mean_effect, rank_correlation

numbers = st.floats(-1, 1, allow_nan=False, width=32)


def names(count):
    return [f"m{i}" for i in range(count)]


def test_without_errors_from_images_the_interval_is_students():
    values = np.random.default_rng(0).normal(0.1, 0.05, 7)
    found = mean_effect(values, np.zeros(7), names(7))
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert found == Effect(value=values.mean(), low=pytest.approx(low), high=pytest.approx(high), models=7, units=7,
                           of="families")  # fmt: skip


def test_a_single_model_has_the_interval_of_its_images():
    found = mean_effect(np.array([0.2]), np.array([0.1]), ["a"])
    assert (found.value, found.of, found.units) == (0.2, "images", 1)
    assert (found.low, found.high) == (pytest.approx(0.2 - Z * 0.1), pytest.approx(0.2 + Z * 0.1))


def test_errors_from_the_same_images_do_not_shrink_with_more_models():
    few, many = (mean_effect(np.full(k, 0.2), np.full(k, 0.1), names(k)) for k in (2, 50))
    assert many.high - many.low == pytest.approx(few.high - few.low)


def test_a_family_counts_once():
    values = np.array([0.1, 0.1, 0.1, 0.4])
    found = mean_effect(values, np.zeros(4), ["a", "a", "a", "b"])
    assert (found.value, found.models, found.units) == (pytest.approx(0.25), 4, 2)
    assert mean_effect(values, np.zeros(4), ["a"] * 4).of == "models"


@given(st.lists(st.tuples(numbers, numbers.map(abs), st.sampled_from("abc")), min_size=1, max_size=8), st.randoms())
def test_the_order_of_models_does_not_matter(rows, random):
    def effect(ordered):
        values, errors, groups = zip(*ordered, strict=True)
        found = mean_effect(np.array(values), np.array(errors), groups)
        return found.value, found.low, found.high

    shuffled = random.sample(rows, len(rows))
    assert effect(shuffled) == pytest.approx(effect(rows), abs=1e-12)


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_no_finite_value_is_an_error(values):
    with pytest.raises(MeasurementError, match="expected finite ones"):
        mean_effect(np.array(values), np.zeros(len(values)), names(len(values)))


@given(st.integers(0, 2**32 - 1), st.integers(5, 15))
def test_tau_is_scipys(seed, count):
    x, y = np.random.default_rng(seed).normal(size=(2, count))
    assert rank_correlation(x, y, groups=names(count)).value == pytest.approx(stats.kendalltau(x, y).statistic)


@given(st.integers(0, 2**32 - 1), st.randoms())
def test_the_order_of_models_does_not_change_a_rank_correlation(seed, random):
    x, y = np.random.default_rng(seed).normal(size=(2, 9))
    groups, order = list("abcdefgha"), random.sample(range(9), 9)
    one = rank_correlation(x, y, groups=groups)
    other = rank_correlation(x[order], y[order], groups=[groups[i] for i in order])
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))


def test_only_pairs_within_a_stratum_count():
    """Both sources rank perfectly; across them, accuracy and detection have opposite orders."""
    x = np.array([1.0, 2, 3, 11, 12, 13])
    y = np.array([11.0, 12, 13, 1, 2, 3])
    assert rank_correlation(x, y, groups=names(6), strata=list("aaabbb")).value == 1
    assert rank_correlation(x, y, groups=names(6)).value == pytest.approx(6 / 15 - 9 / 15)


def test_perfect_order_still_has_an_interval():
    found = rank_correlation(np.arange(5.0), np.arange(5.0), groups=names(5))
    assert found.value == 1
    assert 0 < found.low < 0.5


def test_too_few_families_are_an_error_even_if_models_are_many():
    with pytest.raises(MeasurementError, match="4 families of models are too few"):
        rank_correlation(np.arange(12.0), np.arange(12.0), groups=list("abcd") * 3)


@pytest.mark.parametrize("count", [5, 8, 20])
def test_unrelated_ranks_are_called_related_about_as_rarely_as_promised(count):
    """One side of a 95 % interval is wrong in 2.5 % of panels; 4.5 % of 400 are 2.6 standard errors above that."""
    draw = np.random.default_rng(count)
    found = [rank_correlation(*draw.normal(size=(2, count)), groups=names(count)) for _ in range(400)]
    assert np.mean([one.low > 0 for one in found]) <= 0.045
    assert np.mean([one.high < 0 for one in found]) <= 0.045


def test_a_real_correlation_is_covered_as_often_as_promised():
    draw = np.random.default_rng(1)
    true = 2 / np.pi * np.arcsin(0.8)
    covered = []
    for _ in range(400):
        x = draw.normal(size=15)
        found = rank_correlation(x, 0.8 * x + 0.6 * draw.normal(size=15), groups=names(15))
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) >= 0.92
