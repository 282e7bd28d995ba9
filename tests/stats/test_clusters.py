"""Tests of clustered intervals against resampling whole clusters, and against ordinary intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from pytest_clip_robust.core.evidence import mean_evidence
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.intervals import mean_interval, wilson
from pytest_clip_robust.stats.paired import compare


def correlated(n_clusters, size, *, seed=0, mean=0.4, shared=0.7):
    """Return random outcomes that equal their cluster's value with probability `shared`."""
    rng = np.random.default_rng(seed)
    of_cluster = np.repeat(rng.random(n_clusters) < mean, size)
    own = rng.random(n_clusters * size) < mean
    takes = rng.random(n_clusters * size) < shared
    return np.where(takes, of_cluster, own), np.repeat(np.arange(n_clusters), size)


def drawn_means(outcomes, groups, *, replicates=4000):
    """Return means of clusters drawn with replacement, computed naively."""
    rng = np.random.default_rng(1)
    members = [outcomes[groups == group] for group in np.unique(groups)]
    draws = (rng.integers(0, len(members), len(members)) for _ in range(replicates))
    return np.array([np.concatenate([members[i] for i in draw]).mean() for draw in draws])


def test_the_variance_equals_that_of_resampling_whole_clusters():
    outcomes, groups = correlated(200, 5)
    keep = np.random.default_rng(3).random(len(outcomes)) < 0.8  # clusters of several sizes
    outcomes, groups = outcomes[keep].astype(float), groups[keep]
    found = clusters.variance_of_mean(outcomes, groups)
    assert found == pytest.approx(drawn_means(outcomes, groups).var(), rel=0.08)
    assert found > 2 * outcomes.var() / len(outcomes)


def test_clusters_of_size_one_are_ordinary_samples():
    values = np.random.default_rng(0).normal(size=50)
    alone = np.arange(50)
    assert clusters.variance_of_mean(values, alone) == pytest.approx(sem(values) ** 2)
    ours, plain = clusters.mean_interval(values, alone), mean_interval(values)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high))
    outcomes = values > 0
    ours, plain = clusters.proportion_interval(outcomes, alone), wilson(int(outcomes.sum()), 50)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high))
    assert ours.method == plain.method == "Wilson"


def test_equal_outcomes_in_a_cluster_count_once():
    outcomes, groups = correlated(100, 5, shared=1.0)
    alone = clusters.proportion_interval(outcomes[::5], np.arange(100))
    together = clusters.proportion_interval(outcomes, groups)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.002)
    assert clusters.effective_size(outcomes, groups) == pytest.approx(99)


def test_the_interval_has_its_nominal_coverage():
    """Wilson's interval without clusters covers the true value in only about three quarters of the samples."""
    covered = plain = 0
    for seed in range(400):
        outcomes, groups = correlated(80, 5, seed=seed)
        ours, theirs = clusters.proportion_interval(outcomes, groups), wilson(int(outcomes.sum()), len(outcomes))
        covered += ours.low <= 0.4 <= ours.high
        plain += theirs.low <= 0.4 <= theirs.high
    assert 0.925 <= covered / 400 <= 0.98
    assert plain / 400 < 0.85


@pytest.mark.parametrize("outcome", [False, True])
def test_equal_outcomes_give_the_interval_of_as_many_samples_as_clusters(outcome):
    found = clusters.proportion_interval(np.full(50, outcome), np.repeat(np.arange(10), 5))
    plain = wilson(10 * outcome, 10)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=2, max_size=40).filter(
        lambda rows: len({group for group, _ in rows}) > 1
    )
)
def test_intervals_contain_their_value_and_stay_in_their_bounds(rows):
    groups, values = np.array([group for group, _ in rows]), np.array([value for _, value in rows])
    mean = values.mean()
    for found in (
        clusters.proportion_interval(values, groups),
        clusters.mean_interval(values, groups, bounds=(0.0, 1.0)),
    ):
        assert 0 <= found.low <= mean + 1e-12
        assert mean - 1e-12 <= found.high <= 1
    median = clusters.median_interval(values, groups)
    assert values.min() <= median.low <= median.high <= values.max()
    assert 1 <= clusters.effective_size(values, groups) <= len(values)


def test_the_median_interval_equals_that_of_resampled_clusters():
    rng = np.random.default_rng(0)
    values, groups = np.floor(rng.exponential(20, 500)), np.repeat(np.arange(100), 5)
    found = clusters.median_interval(values, groups)
    draws = [np.concatenate([values[5 * i : 5 * i + 5] for i in rng.integers(0, 100, 100)]) for _ in range(1000)]
    low, high = np.quantile([np.median(draw) for draw in draws], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1)
    assert found.low < np.median(values) < found.high


def test_a_single_cluster_is_an_error():
    with pytest.raises(MeasurementError, match=r"1 cluster has no spread, .*; give at least 2 images"):
        clusters.mean_interval(np.array([0.0, 1.0]), np.array([7, 7]))


def test_cluster_values_have_the_mean_of_the_samples_and_the_variance_of_clusters():
    outcomes, groups = correlated(60, 4)
    keep = np.random.default_rng(1).random(len(outcomes)) < 0.7
    values, groups = outcomes[keep].astype(float), groups[keep]
    found = clusters.cluster_values(values, groups)
    assert len(found) == len(np.unique(groups))
    assert found.mean() == pytest.approx(values.mean())
    assert sem(found) ** 2 == pytest.approx(clusters.variance_of_mean(values, groups))


def test_two_models_are_paired_by_cluster_and_not_by_caption():
    """If two models differ only by chance and captions agree within a cluster, a test per caption has false alarms."""
    alarms = unclustered_alarms = 0
    for seed in range(300):
        before, groups = correlated(60, 5, seed=2 * seed, shared=1.0)
        after, _ = correlated(60, 5, seed=2 * seed + 1, shared=1.0)
        ours = [clusters.mean_evidence("set", one, groups) for one in (before, after)]
        plain = [mean_evidence("set", one) for one in (before, after)]
        alarms += compare(*ours, direction="higher").p_worse < 0.05
        unclustered_alarms += compare(*plain, direction="higher").p_worse < 0.05
    assert alarms / 300 < 0.09
    assert unclustered_alarms / 300 > 0.15


def test_clusters_of_size_one_keep_boolean_outcomes():
    found = clusters.mean_evidence("set", np.array([1.0, 0.0, 1.0]), np.array([2, 0, 1]))
    assert found.strata[0].columns["outcome"].tolist() == [True, False, True]
    assert found.strata[0].columns["outcome"].dtype == np.bool_
