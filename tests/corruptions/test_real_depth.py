"""Photographs with the depth of a real sensor, and third-party renders with true depth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.corruptions.canvas import to_canvas
from pytest_clip_robust.corruptions.depth import complete_depth
from pytest_clip_robust.corruptions.registry import corrupt
from pytest_clip_robust.names import CORRUPTION_KINDS

SENSOR = np.array([[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def room(shared):
    """Return a frame of a room with the holes of the sensor."""
    folder = shared / "data/open3d_rgbd"
    image = Image.open(folder / "color/00000.jpg").convert("RGB")
    depth = np.asarray(Image.open(folder / "depth/00000.png")).astype(np.float32)
    return to_canvas(image, depth=depth, intrinsics=SENSOR)


@pytest.fixture(scope="module")
def brick(shared):
    """Return a render of an object on an empty background, which is infinitely far."""
    folder = shared / "data/nerf_lego_25"
    image = Image.open(folder / "r_0.png").convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    code = np.asarray(Image.open(folder / "r_0_depth_0001.png").convert("L")).astype(np.float32)
    depth = np.where(code > 0, 8 * (1 - code / 255), np.inf).astype(np.float32)
    return to_canvas(white.convert("RGB"), depth=depth)


@pytest.mark.parametrize("kind", CORRUPTION_KINDS)
@pytest.mark.parametrize("name", ["room", "brick"])
def test_every_kind_works(name, kind, request):
    canvas = request.getfixturevalue(name)
    found = [
        corrupt(canvas.rgb, kind, severity, seeds=[1], depth=canvas.depth, intrinsics=canvas.intrinsics)
        for severity in (1, 5)
    ]
    away = [(one.float() - canvas.rgb).abs().mean().item() for one in found]
    assert 0 < away[0] < away[1] < 200


def test_the_sensors_holes_are_filled(room):
    assert (room.depth == 0).float().mean() > 0.02
    full = complete_depth(room.depth)
    assert (full > 0).all()
    assert full.max() == room.depth.max()


def test_fog_hides_far_points_more_than_near_points(room):
    depth = complete_depth(room.depth)[0]
    away = (corrupt(room.rgb, "fog_3d", 3, seeds=[0], depth=room.depth).float() - room.rgb)[0].abs().mean(dim=0)
    near, far = depth <= depth.quantile(0.03), depth >= depth.quantile(0.9)
    contrast = corrupt(room.rgb, "fog_3d", 5, seeds=[0], depth=room.depth)[0].float()
    assert away[near].mean() < 8
    assert contrast[:, far].std() < 0.15 * room.rgb[0].float()[:, far].std()


def test_an_empty_background_stays_empty(brick):
    sky = np.isinf(brick.depth[0].numpy())
    for kind in ("near_focus", "fog_3d"):
        found = corrupt(brick.rgb, kind, 5, seeds=[0], depth=brick.depth)[0].numpy()
        assert found[:, sky].mean() > 240
