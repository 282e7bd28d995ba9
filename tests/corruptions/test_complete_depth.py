from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_clip_robust.corruptions.depth import complete_depth, quantile, with_edges
from pytest_clip_robust.errors import DataError


def fill_slowly(depth):
    """Fill every hole with a loop: from the farther neighbour in its row, then in its column."""
    for _ in ("rows", "columns"):
        filled = depth.copy()
        for row in range(depth.shape[0]):
            for column in np.flatnonzero(depth[row] == 0):
                left, right = depth[row, :column], depth[row, column + 1 :]
                nearest = [*left[left > 0][-1:], *right[right > 0][:1]]
                filled[row, column] = max(nearest, default=0)
        depth = filled.T
    return depth


@given(arrays(np.float32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 3])))
@settings(max_examples=60, deadline=None)
def test_holes_take_the_farther_of_their_neighbours(depth):
    depth[0, 0], depth[3] = 5, 2
    found = complete_depth(torch.from_numpy(depth)[None])[0].numpy()
    np.testing.assert_array_equal(found, fill_slowly(depth))
    assert (found > 0).all()


@pytest.mark.parametrize("hole", [0.0, -3.0, float("nan"), float("-inf")])
def test_values_that_are_not_distances_are_holes(hole):
    depth = torch.full((1, 4, 4), 2.0)
    depth[0, 1, 1], depth[0, 1, 2] = hole, 3.0
    assert complete_depth(depth)[0, 1].tolist() == [2, 3, 3, 2]


def test_infinity_is_twice_as_far_as_the_farthest():
    depth = torch.full((2, 4, 4), 2.0)
    depth[0, 0], depth[0, 1] = float("inf"), 3.0
    assert complete_depth(depth)[0, 0].tolist() == [6, 6, 6, 6]
    assert torch.equal(complete_depth(depth)[1], depth[1])


def test_whole_numbers_and_complete_maps_pass_through():
    depth = torch.arange(1, 17).reshape(1, 4, 4)
    assert torch.equal(complete_depth(depth), depth.float())


def test_a_map_that_is_nearly_empty_is_refused():
    depth = torch.zeros(2, 10, 10)
    depth[:, 0] = 1
    complete_depth(depth)
    depth[1, 0, 0] = 0
    with pytest.raises(DataError, match=r"9\.0% of the pixels; expected at least 10%"):
        complete_depth(depth)


@given(
    arrays(np.float32, (2, 5, 5), elements=st.floats(0.5, 9, width=32)), st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0])
)
def test_quantiles_are_numpys_nearest(depth, share):
    found = quantile(torch.from_numpy(depth), share).flatten().numpy()
    expected = np.sort(depth.reshape(2, -1), axis=1)[:, 1 + round(share * 24) - 1]
    np.testing.assert_array_equal(found, expected)


def test_edges_get_the_nearer_depth():
    depth = torch.full((1, 5, 5), 4.0)
    depth[0, 2, 2] = 1
    assert (with_edges(depth)[0] == 1).sum() == 9
