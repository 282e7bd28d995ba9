"""Paired comparisons under changes that must not matter: swapped models, permuted samples, copies, mirrored metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import Evidence, Stratum, Term, auroc_evidence, mean_evidence, sums_evidence
from pytest_clip_robust.stats.intervals import ratio_of_proportions, wilson
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import interval_of, value_from
from pytest_clip_robust.stats.roc import auroc, auroc_interval, tally

N = 24


def outcomes(rng):
    return mean_evidence("photos", rng.random(N) < 0.6)


def losses(rng):
    return mean_evidence("photos", rng.exponential(size=N))


def scores(rng):
    return auroc_evidence("photos", rng.normal(1, 1, N), "ood", rng.normal(0, 1, N))


def ratio(rng):
    stratum = Stratum(name="photos", columns={"a": rng.random(N) < 0.7, "b": rng.random(N) < 0.9})
    return ratio_evidence([stratum])


def ratio_evidence(strata):
    return sums_evidence(
        strata,
        lambda columns: [Term(columns["a"]), Term(columns["b"])],
        lambda sums: (sums[0][0] / np.maximum(sums[0][1], 1))[:, 0],
    )


KINDS = (outcomes, losses, scores, ratio)


def rearranged(evidence, order):
    """Return the evidence with the samples of every stratum at the positions `order`; some can occur several times."""
    strata = [
        Stratum(name=one.name, columns={name: values[order] for name, values in one.columns.items()})
        for one in evidence.strata
    ]
    if evidence.test == "sums":
        return ratio_evidence(strata)
    return Evidence(test=evidence.test, strata=tuple(strata))


def pair(make, seed):
    return make(np.random.default_rng(seed)), make(np.random.default_rng(seed + 1))


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(["higher", "lower"]))
@pytest.mark.parametrize("make", KINDS)
def test_models_that_change_places_change_the_sign_and_nothing_else(make, seed, direction):
    one, other = pair(make, seed)
    forth, back = compare(one, other, direction=direction), compare(other, one, direction=direction)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.error == pytest.approx(back.error)
    assert (forth.p_worse, forth.p_better) == pytest.approx((back.p_better, back.p_worse))
    assert (forth.interval.low, forth.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))


@settings(max_examples=15)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("make", KINDS)
def test_a_metric_that_counts_the_other_way_turns_the_p_values(make, seed):
    one, other = pair(make, seed)
    up, down = (compare(one, other, direction=direction) for direction in ("higher", "lower"))
    assert (up.p_worse, up.p_better) == pytest.approx((down.p_better, down.p_worse))
    assert (up.difference, up.error) == (down.difference, down.error)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.permutations(range(N)))
@pytest.mark.parametrize("make", KINDS[:3])
def test_samples_in_another_order_are_the_same_samples(make, seed, order):
    one, other = pair(make, seed)
    before = compare(one, other, direction="higher")
    after = compare(rearranged(one, order), rearranged(other, order), direction="higher")
    assert after.difference == pytest.approx(before.difference)
    assert (after.p_worse, after.p_better) == pytest.approx((before.p_worse, before.p_better))
    assert after.error == pytest.approx(before.error)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.permutations(range(N)))
def test_a_resampled_value_does_not_depend_on_the_order_and_its_interval_hardly(seed, order):
    one = ratio(np.random.default_rng(seed))
    other = rearranged(one, order)
    assert value_from(other) == pytest.approx(value_from(one))
    before, after = interval_of(one), interval_of(other)
    width = before.high - before.low
    assert abs(after.low - before.low) + abs(after.high - before.high) < 0.6 * width + 1e-9


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(2, 4))
@pytest.mark.parametrize("make", KINDS)
def test_copies_of_all_samples_change_no_difference_and_make_it_no_less_certain(make, seed, copies):
    one, other = pair(make, seed)
    order = np.tile(np.arange(N), copies)
    before = compare(one, other, direction="higher")
    after = compare(rearranged(one, order), rearranged(other, order), direction="higher")
    assert after.difference == pytest.approx(before.difference)
    assert after.error <= before.error * 1.1 + 1e-12


@settings(max_examples=30)
@given(st.integers(1, 300), st.data())
def test_one_more_success_moves_both_ends_of_an_interval_up(n, data):
    successes = data.draw(st.integers(0, n - 1))
    before, after = wilson(successes, n), wilson(successes + 1, n)
    assert before.low <= after.low
    assert before.high <= after.high
    more = wilson(10 * successes, 10 * n)
    assert more.high - more.low < before.high - before.low


@settings(max_examples=30)
@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_a_ratio_rises_with_its_numerator_and_turns_with_its_parts(n, base_n, data):
    successes, base = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, base_n - 1))
    found, turned = ratio_of_proportions(successes, n, base, base_n), ratio_of_proportions(base, base_n, successes, n)
    assert (1 / turned.high, 1 / turned.low) == pytest.approx((found.low, found.high))
    more = ratio_of_proportions(successes + 1, n, base, base_n)
    assert more.low >= found.low


@settings(max_examples=30)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=20), st.lists(st.integers(-3, 3), min_size=2, max_size=20))
def test_the_area_of_scores_that_change_sides_is_the_rest_and_rises_with_a_positive(positives, negatives):
    high, low = np.array(positives, float), np.array(negatives, float)
    counted, turned = tally(high, low), tally(low, high)
    area = float(auroc(counted.positives, counted.negatives))
    assert float(auroc(turned.positives, turned.negatives)) == pytest.approx(1 - area)
    here, there = auroc_interval(counted), auroc_interval(turned)
    assert (here.low, here.high) == pytest.approx((1 - there.high, 1 - there.low))
    raised = tally(np.append(high[1:], high[0] + 1), low)
    assert float(auroc(raised.positives, raised.negatives)) >= area - 1e-12
