from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.corruptions.depth import quantile, with_edges
from pytest_clip_robust.corruptions.light import to_codes, to_linear
from pytest_clip_robust.corruptions.motion import FASTEST, XY_LENGTH, Z_LENGTH, _Views
from pytest_clip_robust.corruptions.registry import corrupt, generator


def see_slowly(light, closeness, x, y):
    """Draw one point after the other; of several at one pixel the nearest stays. NaN is a hole."""
    height, width = closeness.shape
    seen, nearest = np.full_like(light, np.nan), np.full((height, width), -np.inf)
    for row in range(height):
        for column in range(width):
            to_row, to_column = round(float(row + y[row, column])), round(float(column + x[row, column]))
            inside = 0 <= to_row < height and 0 <= to_column < width
            if inside and closeness[row, column] >= nearest[to_row, to_column]:
                nearest[to_row, to_column] = closeness[row, column]
                seen[:, to_row, to_column] = light[:, row, column]
    return seen, nearest


@given(seed=st.integers(0, 1000), tenths=st.integers(-60, 60))
@settings(max_examples=25, deadline=None)
def test_a_view_equals_a_simple_renderer(seed, tenths):
    speed = tenths / 10 + 0.0137  # no point lands half-way between two pixels
    rng = np.random.default_rng(seed)
    rgb = torch.from_numpy(rng.integers(0, 256, (1, 3, 12, 14), np.uint8))
    closeness = torch.from_numpy(rng.choice([0.5, 1.0, 2.0], (1, 12, 14)).astype(np.float32))
    views = _Views(rgb, closeness)
    x, y = speed * closeness, 0.5 * speed * closeness
    views.add(x, y, sideways=torch.tensor([True]))
    expected, nearest = see_slowly(to_linear(rgb)[0].numpy(), closeness[0].numpy(), x[0].numpy(), y[0].numpy())
    found = views.average()[0].numpy()
    # Pixels between nearer neighbours count as cracks, and holes are filled: both are tested on their own.
    neighbours = np.pad(nearest, 1, constant_values=-np.inf)
    cracks = [
        np.minimum(neighbours[1:-1, :-2], neighbours[1:-1, 2:]),
        np.minimum(neighbours[:-2, 1:-1], neighbours[2:, 1:-1]),
    ]
    clear = np.isfinite(nearest) & (nearest >= cracks[0]) & (nearest >= cracks[1])
    around = np.pad(clear, 1, constant_values=True)
    clear &= around[:-2, 1:-1] & around[2:, 1:-1]
    np.testing.assert_allclose(found[:, clear], expected[:, clear], atol=1e-6)
    assert np.isfinite(found).all()


def test_a_flat_scene_is_blurred_along_a_line():
    rgb = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    rgb[..., 32, 32] = 255
    found = to_linear(corrupt(rgb, "xy_motion_blur", 3, seeds=[4], depth=torch.ones(1, 64, 64)))[0, 0]
    rows, columns = torch.nonzero(found, as_tuple=True)
    angle = generator("xy_motion_blur", 4).uniform(0, math.pi)
    length = XY_LENGTH[2] * 64 / 224
    np.testing.assert_allclose(rows - 32, (columns - 32) * math.tan(angle), atol=1)
    reach = ((rows - 32).float().abs().max() ** 2 + (columns - 32).float().abs().max() ** 2).sqrt()
    assert reach == pytest.approx(length / 2, abs=1)
    assert found.sum() == pytest.approx(1, abs=0.05)  # the light of one white pixel, spread


def test_near_things_blur_more_than_far_ones():
    rgb = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    rgb[..., 50:] = 255
    # Most of each map is at 2, so that its median is 2 for any middle.
    depth = torch.full((2, 64, 64), 2.0)
    depth[0, 24:40], depth[1, 24:40] = 1.0, 4.0
    near, far = corrupt(rgb, "z_motion_blur", 5, seeds=[1, 1], depth=depth)

    def width(image):
        row = image[0, 32].int()
        return int(((row > 5) & (row < 250)).sum())

    assert width(near) > width(far) > 0


@pytest.mark.parametrize("kind", ["xy_motion_blur", "z_motion_blur"])
@given(seed=st.integers(0, 1000), severity=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_holes_are_filled_from_the_picture_never_with_black(kind, seed, severity):
    rng = np.random.default_rng(seed)
    depth = torch.from_numpy(rng.choice([1.0, 2.0, 8.0], (1, 24, 31)).astype(np.float32))
    rgb = torch.full((1, 3, 24, 31), 77, dtype=torch.uint8)
    assert torch.equal(corrupt(rgb, kind, severity, seeds=[seed], depth=depth), rgb)


def test_moving_objects_uncover_the_background(scene, inside):
    rgb, depth = scene(96, wall=(20, 200, 20))
    found = corrupt(rgb, "xy_motion_blur", 5, seeds=[2], depth=depth)
    # Seen light mixes the disc and the wall along a line: nothing else, and no pixel darker than both.
    light, red, green = to_linear(found)[0], to_linear(rgb)[0, :, 48, 48], to_linear(rgb)[0, :, 0, 0]
    share = (light[0] - green[0]) / (red[0] - green[0])
    np.testing.assert_allclose(light[1], green[1] + share * (red[1] - green[1]), atol=0.02)
    assert share[48, 48] > 0.95
    assert share[~inside(96, radius=48)].max() < 0.02


def test_the_picture_grows_away_from_the_principal_point():
    rgb = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
    rgb[..., 20, 20] = rgb[..., 70, 60] = 255
    camera = torch.tensor([[[100.0, 0, 60.5], [0, 100, 70.5], [0, 0, 1]]])
    found = corrupt(rgb, "z_motion_blur", 5, seeds=[0], depth=torch.ones(1, 96, 96), intrinsics=camera)[0, 0]
    assert found[70, 60] == 255
    rows, columns = torch.nonzero(found[:50], as_tuple=True)
    away = 40 * (1 / (1 - Z_LENGTH[4]) - 1)
    assert columns.max() == 20
    assert columns.min() == pytest.approx(20 - away, abs=1)
    np.testing.assert_allclose(rows, 70 - (60 - columns) * 50 / 40, atol=1.5)


def test_the_nearest_points_move_at_twice_the_median_speed():
    depth = torch.ones(1, 64, 64)
    depth[0, :8, :8] = 0.01
    rgb = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    held = torch.where(depth == 1, depth, 1 / FASTEST)
    for kind in ("xy_motion_blur", "z_motion_blur"):
        found, expected = (corrupt(rgb, kind, 5, seeds=[0], depth=one) for one in (depth, held))
        assert torch.equal(found, expected)
    assert quantile(with_edges(depth), 0.5).item() == 1
    assert to_codes(to_linear(rgb)).equal(rgb)
