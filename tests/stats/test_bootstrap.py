from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.stats.bootstrap import bootstrap_rows, percentile_interval


def mean_of_first(counts, rows):
    return (counts @ rows[:, 0]) / counts.sum(axis=1)


def test_counting_distinct_rows_is_resampling_rows():
    rng = np.random.default_rng(1)
    rows = rng.random((400, 3)) < [0.3, 0.5, 0.1]
    found = bootstrap_rows(rows, mean_of_first)
    slow = [rows[rng.integers(0, 400, 400), 0].mean() for _ in range(4000)]
    assert found.low == pytest.approx(np.quantile(slow, 0.025), abs=0.006)
    assert found.high == pytest.approx(np.quantile(slow, 0.975), abs=0.006)


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        interval = bootstrap_rows(rng.random((200, 1)) < 0.4, mean_of_first, replicates=500)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.91 <= hits / 300 <= 0.98


def test_it_depends_on_the_data_and_the_seed_alone():
    rows = np.random.default_rng(3).random((50, 2)) < 0.5
    assert bootstrap_rows(rows, mean_of_first) == bootstrap_rows(rows[::-1], mean_of_first)
    assert bootstrap_rows(rows, mean_of_first) != bootstrap_rows(rows, mean_of_first, seed=1)


def test_undefined_replicates_are_left_out():
    interval = percentile_interval(np.array([np.nan, 1.0, 2.0, 3.0]), level=0.5)
    assert (interval.low, interval.high) == (1.5, 2.5)
