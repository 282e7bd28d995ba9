"""The spread of checkpoints against SciPy and simulation."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.spread import difference_bounds, rounded_up

PANELS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(1, 8)),
    elements=st.integers(0, 40).map(lambda k: k / 40),
)
"""(K, G) values of 2 to 6 checkpoints, many of them equal."""


@pytest.mark.parametrize("checkpoints", [2, 3, 5])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_a_bound_is_exceeded_as_often_as_its_level_says(checkpoints, level):
    rng = np.random.default_rng(7)
    deviations = rng.gamma(2.0, 0.01, 40_000)
    bounds = difference_bounds(rng.normal(0.6, deviations, (checkpoints, 40_000)), level=level)
    first, second = rng.normal(0.6, deviations, (2, 40_000))
    assert np.mean(first - second > bounds) == pytest.approx(1 - level, rel=0.1)
    assert np.mean(second - first > bounds) == pytest.approx(1 - level, rel=0.1)


def test_two_checkpoints_are_compared_by_their_difference():
    """With K = 2, sqrt(2) times the standard deviation is the difference, and t(0.95; 1) is 6.31."""
    assert difference_bounds(np.array([[0.50], [0.53]])) == pytest.approx([0.03 * stats.t(1).ppf(0.95)])


def test_the_bound_is_half_of_scipys_two_sided_interval():
    values = np.array([[0.50], [0.53], [0.58], [0.51]])
    error = math.sqrt(2) * stats.tstd(values[:, 0])
    low, high = stats.t.interval(0.90, df=3, loc=0, scale=error)
    assert difference_bounds(values) == pytest.approx([(high - low) / 2])


def test_one_checkpoint_has_no_spread():
    with pytest.raises(MeasurementError, match="1 checkpoints have no spread; give at least 2"):
        difference_bounds(np.array([[0.5]]))


@given(PANELS, st.randoms())
def test_the_order_of_checkpoints_and_gates_does_not_matter(values, random):
    rows, columns = list(range(values.shape[0])), list(range(values.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = difference_bounds(values[rows][:, columns])
    assert shuffled == pytest.approx(difference_bounds(values)[columns], rel=1e-9, abs=1e-12)


@given(PANELS, st.sampled_from([0.01, 100.0]), st.sampled_from([-1.0, 1.0]), st.floats(-5, 5))
def test_bounds_have_the_units_of_the_values(values, factor, sign, shift):
    """Percent or shares, better or worse, and from any zero: the bound changes by the factor only."""
    expected = factor * difference_bounds(values)
    assert difference_bounds(sign * factor * values + shift) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(PANELS)
def test_a_further_checkpoint_at_the_mean_gives_no_larger_bound(values):
    nearer = np.vstack([values, values.mean(axis=0)])
    assert (difference_bounds(nearer) <= difference_bounds(values) + 1e-12).all()


@given(st.floats(1e-6, 1e4))
def test_rounding_up_never_lowers_and_adds_less_than_a_tenth(value):
    rounded = rounded_up(value)
    assert value * (1 - 1e-8) <= rounded < 1.1 * value + 1e-12
    assert len(Decimal(repr(rounded)).normalize().as_tuple().digits) <= 2
