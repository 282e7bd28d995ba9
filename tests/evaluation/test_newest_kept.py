"""What is computed for a large data set is computed once for tests that ask for it in a row."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from cachetools import cached

from pytest_clip_robust.evaluation.newest_kept import NewestKept


@pytest.fixture
def calls():
    return []


@pytest.fixture
def compute(calls):
    @cached(NewestKept(100, size_of=lambda one: one.nbytes))
    def compute(size, name=""):
        calls.append(size)
        return np.zeros(size, np.uint8)

    return compute


def test_a_result_above_the_limit_is_computed_once_in_a_row(compute, calls):
    for _ in range(3):
        assert compute(101).nbytes == 101
    assert calls == [101]


def test_results_below_the_limit_are_kept_together(compute, calls):
    for _ in range(2):
        compute(40)
        compute(60)
    assert calls == [40, 60]


def test_a_result_above_the_limit_displaces_the_others(compute, calls):
    for size in (40, 101, 40):
        compute(size)
    assert calls == [40, 101, 40]


def test_a_large_result_is_dropped_before_the_next_is_computed():
    results, alive = [], []

    @cached(NewestKept(100, size_of=lambda one: one.nbytes))
    def compute(size):
        gc.collect()
        alive.extend(result() is not None for result in results)
        return np.zeros(size, np.uint8)

    results.append(weakref.ref(compute(200)))
    assert results[0]() is not None
    compute(300)
    assert alive == [False]
