from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pytest_clip_robust.corruptions.camera import facing, rays, usual_intrinsics
from pytest_clip_robust.corruptions.fog import DENSITY, airlight
from pytest_clip_robust.corruptions.light import to_linear
from pytest_clip_robust.corruptions.registry import corrupt


def sloped(normal, *, size=64, distance=3.0):
    """Return depth and camera of a plane: ``normal . point = distance``."""
    camera = usual_intrinsics(size, size)[None]
    x, y = rays(camera, size, size)[0]
    depth = distance / (normal[0] * x + normal[1] * y + normal[2])
    return depth[None], camera, torch.stack([x, y, torch.ones_like(x)])


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_fog_is_koschmieders_law(severity):
    rgb = torch.full((1, 3, 32, 32), 51, dtype=torch.uint8)
    rgb[0, :, :9, :9] = torch.tensor([200, 210, 220], dtype=torch.uint8)[:, None, None]
    depth = torch.linspace(1, 5, 32).expand(1, 32, 32)
    found = corrupt(rgb, "fog_3d", severity, seeds=[0], depth=depth)[0, :, 20].double() / 255
    scaled = 0.5 * np.linspace(0, 1, 32)
    share = np.exp(-DENSITY[severity - 1] * scaled)
    for channel, light in enumerate((200, 210, 220)):
        np.testing.assert_allclose(found[channel], 0.2 * share + light / 255 * (1 - share), atol=0.003)


def test_the_airlight_is_estimated_per_image():
    rgb = torch.randint(0, 100, (3, 3, 40, 40), dtype=torch.uint8)
    rgb[1, :, 5:20, 5:20] = torch.tensor([240, 230, 220], dtype=torch.uint8)[:, None, None]
    rgb[2] = 90
    rgb[2, :, 20:, 20:] = torch.tensor([255, 20, 20], dtype=torch.uint8)[:, None, None]  # bright, but no light of air
    found = airlight(rgb)
    assert (found[1, :, 0, 0] * 255).round().tolist() == [240, 230, 220]
    assert (found[2, :, 0, 0] * 255).round().tolist() == [90, 90, 90]
    assert torch.equal(airlight(rgb[:1]), found[:1])


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.6, 0, 0.8), (0, -0.6, 0.8), (0.48, 0.36, 0.8)])
def test_the_cosine_of_a_plane_is_exact(normal):
    depth, camera, ray = sloped(normal)
    expected = torch.einsum("c,chw->hw", torch.tensor(normal, dtype=torch.float32), ray) / ray.norm(dim=0)
    np.testing.assert_allclose(facing(depth, camera, reach=3)[0], expected, atol=2e-3)


def test_an_edge_does_not_count_as_a_slope():
    depth = torch.full((1, 64, 64), 4.0)
    depth[0, 20:44, 20:44] = 1
    camera = usual_intrinsics(64, 64)[None]
    level = facing(torch.ones(1, 64, 64), camera, reach=3)
    np.testing.assert_allclose(facing(depth, camera, reach=3), level, atol=1e-3)


def test_noise_in_depth_has_little_effect():
    depth, camera, _ = sloped((0, 0, 1))
    noisy = depth * (1 + 0.002 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(0)))
    away = (facing(noisy, camera, reach=3) - facing(depth, camera, reach=3)).abs()
    assert away.mean() < 0.02


def test_flash_falls_off_with_the_square_of_the_distance():
    rgb = torch.full((1, 3, 64, 64), 60, dtype=torch.uint8)
    depth = torch.full((1, 64, 64), 2.0)
    depth[0, :, 32:] = 4
    light = to_linear(corrupt(rgb, "flash", 2, seeds=[0], depth=depth))[0, 0]
    before = float(to_linear(rgb)[0, 0, 0, 0])
    ambient = 0.55 * before
    near, far = (float(light[32, column]) - ambient for column in (30, 33))
    assert near / far == pytest.approx(4, rel=0.1)


def test_frontal_surfaces_catch_more_than_slanted_ones():
    rgb = torch.full((1, 3, 64, 64), 60, dtype=torch.uint8)
    frontal, slanted = (
        corrupt(rgb, "flash", 3, seeds=[0], depth=sloped(normal)[0])[0, 0, 32, 32].item()
        for normal in ((0, 0, 1), (math.sqrt(0.75), 0, 0.5))
    )
    assert frontal > slanted + 10


def test_the_background_becomes_dark():
    rgb = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    depth = torch.full((1, 64, 64), 1.0)
    depth[0, :, 32:] = 30
    found = corrupt(rgb, "flash", 5, seeds=[0], depth=depth)[0, 0]
    assert found[32, 10] == 255
    assert found[32, 60] < 75
