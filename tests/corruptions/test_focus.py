from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pytest_clip_robust.corruptions.focus import FARTHEST, NEAREST, blur_radius, disk_blur
from pytest_clip_robust.corruptions.registry import corrupt


def blur_slowly(plane, radius):
    """Average over the disk, row by row, the ends of each row with the part of a pixel that the disk covers."""
    reach = math.ceil(radius)
    padded = np.pad(plane, reach + 1, mode="edge")
    found, weights = np.zeros_like(plane), 0.0
    for down in range(-reach, reach + 1):
        half = math.sqrt(max((radius + 0.5) ** 2 - down**2, 0)) - 0.5
        for across in range(-reach - 1, reach + 2):
            weight = min(max(half - abs(across) + 1, 0), 1) if half >= 0 else 0
            rows, columns = reach + 1 + down, reach + 1 + across
            found += weight * padded[rows : rows + plane.shape[0], columns : columns + plane.shape[1]]
            weights += weight
    return found / weights


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.3, 5.0])
def test_disk_blur_is_the_average_over_a_disk(radius):
    plane = np.random.default_rng(0).random((20, 23))
    found = disk_blur(torch.from_numpy(plane)[None, None].float(), radius)[0, 0].numpy()
    np.testing.assert_allclose(found, blur_slowly(plane, radius), atol=1e-5)


def test_a_radius_of_zero_changes_nothing():
    planes = torch.rand(1, 2, 8, 8)
    assert torch.equal(disk_blur(planes, 0.0), planes)


def test_the_radius_is_that_of_a_thin_lens():
    depth = torch.linspace(1, 3, 400).reshape(1, 20, 20)
    near, far = (np.sort(depth.flatten().numpy())[round(share * 399)] for share in (NEAREST, FARTHEST))
    for focus, focused in ((NEAREST, near), (FARTHEST, far)):
        expected = 6 * near * np.abs(1 / depth.numpy().clip(near, far) - 1 / focused)
        np.testing.assert_allclose(blur_radius(depth, aperture=6.0, focus=focus).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("severity", [1, 5])
def test_the_foreground_stays_sharp_and_does_not_bleed(scene, inside, severity):
    rgb, depth = scene(96, wall=(20, 200, 20))
    found = corrupt(rgb, "near_focus", severity, seeds=[0], depth=depth)
    assert torch.equal(found[0][:, inside(96)], rgb[0][:, inside(96)])
    edge = inside(96, radius=26) & ~inside(96)
    # A pixel that belongs to the disc's edge is as it was; beyond it there is green wall and nothing red.
    assert (found[0][0][edge] <= 21).all()
    assert (found[0][1][edge] >= 199).all()


def test_the_background_blurs(scene):
    rgb, depth = scene(96)
    found = corrupt(rgb, "near_focus", 5, seeds=[0], depth=depth)
    assert found[0, :, :20].float().std() < 0.4 * rgb[0, :, :20].float().std()


@pytest.mark.parametrize("severity", [1, 5])
def test_the_background_stays_sharp_away_from_the_foreground(scene, inside, severity):
    rgb, depth = scene(96)
    found = corrupt(rgb, "far_focus", severity, seeds=[0], depth=depth)
    away = ~inside(96, radius=24 + 7 * 96 / 224 + 2)
    assert torch.equal(found[0][:, away], rgb[0][:, away])


def test_the_foregrounds_edge_is_soft_over_the_wall(scene):
    rgb, depth = scene(96, wall=(20, 200, 20))
    profile = corrupt(rgb, "far_focus", 5, seeds=[0], depth=depth)[0, :, 48].int()
    red, green = profile[0, 48:], profile[1, 48:]
    assert (red.diff() <= 0).all()
    assert (green.diff() >= 0).all()
    assert ((red > 30) & (red < 210)).sum() >= 3
