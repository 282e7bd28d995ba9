"""The search for the mildest combination of transformations that breaks a property."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.corruptions.transformed_images import in_order
from pytest_clip_robust.evaluation.combination_search import drawn_combinations, mild_steps, mildest_combination
from pytest_clip_robust.names import TRANSFORMATIONS

SINGLES = [((name, mild_steps(name)),) for name in TRANSFORMATIONS]


def needs(*parts):
    """Return a property that breaks under all combinations that contain these transformations at these steps."""
    asked = []

    def breaks(combination):
        asked.append(combination)
        steps = dict(combination)
        return all(steps.get(name, 0) >= step for name, step in parts)

    breaks.asked = asked
    return breaks


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_one_transformation_is_shrunk_to_its_mildest_strength(name):
    step = max(1, mild_steps(name) // 2)
    assert mildest_combination(needs((name, step)), most=32).mildest == ((name, step),)


def test_two_transformations_that_break_together_alone_are_found():
    expected = (("crop", 4), ("jpeg", 4))
    assert mildest_combination(needs(*expected), most=40, seed=0).mildest == expected


def test_nothing_that_breaks_is_none():
    found = mildest_combination(needs(("crop", 5)), most=10)
    assert found.mildest is None
    assert found.tried == len(SINGLES) + 10


@pytest.mark.parametrize(("step", "most", "seed"), [(0, 0, 0), (1, 3, 1), (2, 8, 2), (3, 20, 3), (5, 12, 4)])
def test_the_number_of_tries_is_bounded_and_none_is_repeated(step, most, seed):
    breaks = needs(("rotation", step), ("hue", 2))
    found = mildest_combination(breaks, most=most, seed=seed)
    assert len(breaks.asked) == len(set(breaks.asked)) == found.tried
    assert found.tried <= len(SINGLES) + most
    assert found.mildest is None or found.mildest in breaks.asked


@pytest.mark.parametrize("seed", range(6))
def test_properties_that_are_not_monotone_do_not_break_the_search(seed):
    verdicts, random = {}, Random(seed)

    def breaks(combination):
        return verdicts.setdefault(combination, random.random() < 0.3)

    found = mildest_combination(breaks, most=12)
    assert found.mildest is None or verdicts[found.mildest]


def test_equal_arguments_ask_the_same_in_the_same_order():
    first, second = needs(("hue", 2), ("jpeg", 2)), needs(("hue", 2), ("jpeg", 2))
    assert mildest_combination(first, most=20) == mildest_combination(second, most=20)
    assert first.asked == second.asked
    other = needs(("hue", 2), ("jpeg", 2))
    mildest_combination(other, most=20, seed=1)
    assert other.asked != first.asked


def test_known_combinations_are_tried_first():
    known = (("jpeg", 2), ("hue", 3))
    breaks = needs(*known)
    found = mildest_combination(breaks, known=[known], most=0)
    assert found.mildest == in_order(known)
    assert breaks.asked == [*SINGLES, in_order(known)]


def test_a_known_combination_that_does_not_break_any_more_is_not_reported():
    assert mildest_combination(needs(("crop", 8)), known=[(("hue", 3),)], most=0).mildest is None


@given(st.integers(1, 12), st.integers(0, 1000))
def test_drawn_combinations_are_different_mild_and_decided_by_the_seed(count, seed):
    found = drawn_combinations(count, seed)
    assert len(set(found)) == count
    assert found == drawn_combinations(count + 3, seed)[:count]
    for combination in found:
        assert 2 <= len(combination) <= 3
        assert combination == in_order(combination)
        assert all(1 <= step <= mild_steps(name) for name, step in combination)


def test_another_seed_draws_others():
    assert drawn_combinations(4, 0) != drawn_combinations(4, 1)
