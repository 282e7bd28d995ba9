from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.encoding.dense.keypoints import find_points
from pytest_clip_robust.encoding.dense.nearest import FeatureMap
from pytest_clip_robust.encoding.dense.resize import STRIDE, resize_for

RESIZE = resize_for(128, 96, size=128)


def waves(shift=0.0, resize=RESIZE):
    """Return smooth features that differ everywhere, moved to the right by `shift` pixels."""
    rows, columns = np.indices((resize.height // 8, resize.width // 8)) * 8 + 4.0
    rng = np.random.default_rng(0)
    down, across, phase = rng.normal(size=(3, 48)) / 25
    values = np.cos(rows[..., None] * down + (columns[..., None] - shift) * across + phase * 100)
    return torch.from_numpy(values.transpose(2, 0, 1).copy()).float()


@given(st.lists(st.tuples(st.floats(16, 100), st.floats(16, 80)), min_size=1, max_size=5))
def test_a_point_is_found_in_its_own_picture(points):
    points = np.array(points)

    found = find_points(waves(), points, RESIZE, FeatureMap(waves(), RESIZE.grid))

    # Points of the grid are 4 pixels apart.
    assert np.abs(found - points).max() <= STRIDE


def test_a_point_is_found_where_it_moved():
    points = np.array([[40.0, 40.0], [70.0, 20.0]])

    found = find_points(waves(), points, RESIZE, FeatureMap(waves(shift=24), RESIZE.grid))

    assert np.abs(found - points - [24, 0]).max() <= STRIDE


def test_pictures_may_differ_in_size():
    larger = resize_for(256, 192, size=256)
    points = np.array([[40.0, 40.0]])

    target = torch.nn.functional.interpolate(waves()[None], scale_factor=2)[0]
    found = find_points(waves(), points, RESIZE, FeatureMap(target, larger.grid))

    assert found == pytest.approx(points * 2, abs=10)
