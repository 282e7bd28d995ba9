"""The spread of checkpoints against SciPy, numerical integration and simulation."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import student
from pytest_clip_robust.stats.spread import (
    Prior,
    difference_bounds,
    fit_prior,
    moderate,
    rounded_up,
    spread_of,
    standard_error,
)

PANELS = st.tuples(st.integers(2, 6), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float64, shape, elements=st.integers(0, 40).map(lambda k: k / 40)),
        hnp.arrays(np.float64, shape, elements=st.sampled_from([0.01, 0.02, 0.05])),
    )
)
"""Values and standard errors of 2 to 6 checkpoints, many of them equal."""


def draw(rng, *, checkpoints, gates, freedom, sampling=0.02):
    """Draw values of `gates` whose true variances come from a prior with this freedom; return true deviations too."""
    ratios = freedom / rng.chisquare(freedom, gates) if freedom < math.inf else np.ones(gates)
    deviations = sampling * np.sqrt(0.5 * ratios)
    return rng.normal(0.6, deviations, (checkpoints, gates)), deviations


def test_a_single_gate_has_students_bound_of_a_new_difference():
    values = np.array([[0.50], [0.53], [0.58], [0.51]])
    expected = stats.t(3).ppf(0.95) * math.sqrt(2) * stats.tstd(values[:, 0])
    assert difference_bounds(values, np.full((4, 1), 0.02)) == pytest.approx([expected])


@pytest.mark.parametrize("checkpoints", [2, 3, 6])
@pytest.mark.parametrize("freedom", [3.0, 12.0, math.inf])
def test_a_bound_is_exceeded_as_often_as_its_level_says(checkpoints, freedom):
    rng = np.random.default_rng(7)
    exceeded = []
    for _ in range(60):
        values, deviations = draw(rng, checkpoints=checkpoints, gates=400, freedom=freedom)
        bounds = difference_bounds(values, np.full(values.shape, 0.02))
        first, second = rng.normal(0.6, deviations, (2, len(deviations)))
        exceeded.append(np.mean(first - second > bounds))
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.006)


def test_moderated_bounds_are_smaller_than_those_of_single_gates():
    rng = np.random.default_rng(3)
    values, _ = draw(rng, checkpoints=3, gates=400, freedom=12.0)
    errors = np.full(values.shape, 0.02)
    alone = stats.t(2).ppf(0.95) * math.sqrt(2) * values.std(axis=0, ddof=1)
    together = difference_bounds(values, errors)
    assert np.mean(together) < 0.75 * np.mean(alone)


@pytest.mark.parametrize(("freedom", "variance"), [(4.0, 0.3), (20.0, 2.0)])
def test_the_prior_is_recovered_from_many_variances(freedom, variance):
    rng = np.random.default_rng(11)
    truth = variance * freedom / rng.chisquare(freedom, 40_000)
    prior = fit_prior(truth * rng.chisquare(5, 40_000) / 5, 5)
    assert prior.variance == pytest.approx(variance, rel=0.03)
    assert prior.freedom == pytest.approx(freedom, rel=0.1)


def test_equal_variances_are_pooled():
    rng = np.random.default_rng(2)
    prior = fit_prior(0.3 * rng.chisquare(4, 100_000) / 4 * np.exp(-1e-9), 4)
    assert prior.freedom > 100
    flat = fit_prior(np.full(10, 0.3), 4)  # less different than by chance
    assert flat.freedom == math.inf
    assert moderate(np.array([0.1, 0.7]), 4, flat) == pytest.approx([flat.variance] * 2)


@pytest.mark.parametrize("found", [0.02, 0.5, 3.0])
def test_a_moderated_variance_is_the_posterior_one(found):
    """One over the posterior mean of the precision, integrated numerically."""
    prior, own = Prior(variance=0.4, freedom=5.0), 3

    def weight(precision):
        expected = stats.chi2.pdf(precision * prior.freedom * prior.variance, prior.freedom)
        return expected * precision * stats.chi2.pdf(own * found * precision, own)

    total = integrate.quad(weight, 0, 200, limit=500)[0]
    mean = integrate.quad(lambda precision: precision * weight(precision), 0, 200, limit=500)[0] / total
    assert moderate(np.array([found]), own, prior) == pytest.approx([1 / mean], rel=1e-4)


def test_values_that_never_differ_teach_nothing_about_others():
    rng = np.random.default_rng(5)
    values, _ = draw(rng, checkpoints=4, gates=50, freedom=8.0)
    errors = np.full(values.shape, 0.02)
    with_text_only = np.hstack([values, np.full((4, 30), 0.7)])
    bounds = difference_bounds(with_text_only, np.full(with_text_only.shape, 0.02))
    assert bounds[:50] == pytest.approx(difference_bounds(values, errors))


def test_a_gate_without_a_sampling_error_has_its_own_variance_only():
    rng = np.random.default_rng(5)
    values, _ = draw(rng, checkpoints=4, gates=50, freedom=8.0)
    errors = np.full(values.shape, 0.02)
    errors[:, 0] = 0.0
    found = spread_of(values, errors)
    assert found.deviations[0] == pytest.approx(values[:, 0].std(ddof=1))
    assert found.freedom[0] == 3
    assert (found.freedom[1:] > 3).all()


def test_one_checkpoint_has_no_spread():
    with pytest.raises(MeasurementError, match="1 checkpoints have no spread; give at least 2"):
        spread_of(np.array([[0.5]]), np.array([[0.02]]))


@given(PANELS, st.randoms())
def test_the_order_of_checkpoints_and_gates_does_not_matter(panel, random):
    values, errors = panel
    rows, columns = list(range(values.shape[0])), list(range(values.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = difference_bounds(values[rows][:, columns], errors[rows][:, columns])
    assert shuffled == pytest.approx(difference_bounds(values, errors)[columns], rel=1e-9, abs=1e-12)


@given(PANELS, st.sampled_from([0.01, 100.0]), st.sampled_from([-1.0, 1.0]), st.floats(-5, 5))
def test_bounds_have_the_units_of_the_values(panel, factor, sign, shift):
    """Percent or shares, better or worse, and from any zero: the bound changes by the factor only."""
    values, errors = panel
    assume((values.std(axis=0) > 0).all())
    bounds = difference_bounds(sign * factor * values + shift, factor * errors)
    assert bounds == pytest.approx(factor * difference_bounds(values, errors), rel=1e-6)


@given(PANELS, st.integers(0, 11), st.sampled_from([0.01, 100.0]))
def test_the_units_of_one_gate_do_not_change_the_others(panel, gate, factor):
    values, errors = (part.copy() for part in panel)
    gate %= values.shape[1]
    before = difference_bounds(values, errors)
    values[:, gate] *= factor
    errors[:, gate] *= factor
    before[gate] *= factor
    assert difference_bounds(values, errors) == pytest.approx(before, rel=1e-6, abs=1e-12)


@given(st.floats(1e-6, 1e4))
def test_rounding_up_never_lowers_and_adds_less_than_a_tenth(value):
    rounded = rounded_up(value)
    assert value * (1 - 1e-8) <= rounded < 1.1 * value + 1e-12
    assert len(Decimal(repr(rounded)).normalize().as_tuple().digits) <= 2


@given(st.floats(0, 1), st.floats(0.001, 0.2), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_error_of_a_normal_interval_is_found_again(mean, error, level):
    interval = student(mean, error, 10**7, level=level)
    assert standard_error(low=interval.low, high=interval.high, level=level) == pytest.approx(error, rel=1e-4)
