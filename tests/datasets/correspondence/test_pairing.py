from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.correspondence.pairing import (
    PAIRS_PER_BIN,
    PAIRS_PER_CLASS,
    class_pairs,
    spread,
    view_pairs,
)
from pytest_clip_robust.datasets.correspondence.poses import from_quaternion, relative_angle


def turntable(degrees):
    halves = np.radians(degrees) / 2
    return np.stack([from_quaternion([np.cos(half), 0, np.sin(half), 0], [0, 0, 1]) for half in halves])


def test_few_views_are_all_paired_within_their_scene_and_120_degrees():
    poses = turntable([0, 60, 120, 240, 0, 10])
    pairs = view_pairs(poses, ["a", "a", "a", "a", "b", "b"])
    assert pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3], [4, 5]]


def test_of_a_hundred_views_come_few_pairs_evenly_over_all_angles():
    poses = turntable(np.arange(100) * 3.6)
    pairs = view_pairs(poses, ["a"] * 100)
    angles = relative_angle(poses[pairs[:, 0]], poses[pairs[:, 1]]).round(6)
    counts, _ = np.histogram(angles, [0, 30, 60, 90, 120.001])
    assert counts.tolist() == [PAIRS_PER_BIN] * 4
    for low in (0, 30, 60, 90):
        inside = np.sort(angles[(angles >= low) & (angles < low + 30)])
        assert np.diff(inside).max() <= 7.3  # two steps of the turntable
    assert len(np.unique(pairs)) > 40


def test_a_film_is_thinned_first():
    poses = turntable(np.linspace(0, 100, 5000))
    pairs = view_pairs(poses, ["a"] * 5000)
    assert len(pairs) == 4 * PAIRS_PER_BIN
    assert pairs.max() == 4999


@pytest.mark.parametrize("noise", [-1e-6, 1e-6])
def test_rounding_moves_no_pair_to_another_bin(noise):
    steps = np.arange(20) * 30.0
    steps[1::2] += noise
    assert (
        view_pairs(turntable(steps), ["a"] * 20).tolist()
        == view_pairs(turntable(np.arange(20) * 30.0), ["a"] * 20).tolist()
    )


def test_a_scene_of_one_view_has_no_pair():
    assert view_pairs(turntable([0]), ["a"]).shape == (0, 2)


def test_objects_are_paired_with_others_of_their_class_that_show_the_same_keypoint():
    labels = np.array([0, 0, 0, 1, 1])
    seen = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 1]], bool)
    assert class_pairs(labels, ["a", "b", "c", "d", "d"], seen).tolist() == [[0, 1]]


def test_of_a_large_class_come_few_pairs_of_all_pictures():
    pairs = class_pairs(np.zeros(60, np.int64), [str(i) for i in range(60)], np.ones((60, 3), bool))
    assert len(pairs) == PAIRS_PER_CLASS
    assert len(np.unique(pairs)) > 50
    assert len(np.unique(pairs, axis=0)) == len(pairs)


@given(st.integers(0, 500), st.integers(1, 60))
def test_what_is_spread_is_in_order_and_has_both_ends(count, most):
    places = spread(count, most)
    assert len(places) == min(count, most) == len(set(places.tolist()))
    assert (np.diff(places) > 0).all()
    if count and most > 1:
        assert (places[0], places[-1]) == (0, count - 1)
