from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pytest_clip_robust.encoding.dense.nearest import FeatureMap
from pytest_clip_robust.encoding.dense.resize import resize_for
from pytest_clip_robust.encoding.dense.views import View, match_views, resized_intrinsics, view_points

SIDE = 128
RESIZE = resize_for(SIDE, SIDE, size=SIDE)
CAMERA = np.array([[140.0, 0, 64], [0, 140.0, 64], [0, 0, 1]])


def plane_depth(pose):
    """Ray-cast the plane z = 0 of the world from a camera above it: (SIDE, SIDE) metres along the optical axis."""
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    rays = np.stack([(columns - 64) / 140, (rows - 64) / 140, np.ones_like(rows)], axis=-1)
    return -pose[2, 3] / (rays @ pose[:3, :3].T)[..., 2]


def pose_above(degrees, height=1.5):
    """Return the pose of a camera that faces down at the origin, rotated about the vertical and tilted slightly."""
    turn = Rotation.from_euler("z", degrees, degrees=True) * Rotation.from_euler("x", 180 + 8, degrees=True)
    pose = np.eye(4)
    pose[:3, :3] = turn.as_matrix()
    pose[:3, 3] = -height * pose[:3, 2]
    return pose


def view(pose, features=None, *, world=None):
    points = view_points(plane_depth(pose), CAMERA, RESIZE)
    return View(
        resize=RESIZE,
        features=FeatureMap(known_places(pose, points) if features is None else features, RESIZE.grid),
        points=points,
        intrinsics=resized_intrinsics(CAMERA, RESIZE),
        pose=pose if world is None else world @ pose,
    )


def known_places(pose, points):
    """Return features that encode each cell's position in the world, as a perfect model would have."""
    world = points @ pose[:3, :3].T + pose[:3, 3]
    waves = np.random.default_rng(0).normal(size=(3, 64)) * 6
    return torch.from_numpy(np.cos(world @ waves + np.arange(64)).transpose(2, 0, 1).copy()).float()


def test_features_that_encode_the_position_find_it_again():
    found = match_views(view(pose_above(0)), view(pose_above(50)), count=400)

    assert len(found.metres) == 400
    # Points are 4 pixels apart, which is some 4 cm on this plane: the nearest of them is within 3 cm.
    assert np.median(found.metres) < 0.03
    assert np.median(found.pixels) < 3


def test_random_features_find_nothing():
    noise = torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(0))
    other = torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(1))

    found = match_views(view(pose_above(0), noise), view(pose_above(50), other), count=400)

    assert (found.metres < 0.05).mean() < 0.05


def test_a_view_matches_itself_exactly():
    one = view(pose_above(20))

    found = match_views(one, one)

    assert np.array_equal(found.source, found.target)
    assert found.metres.max() < 1e-9
    assert found.pixels.max() < 1e-6


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_the_origin_of_the_world_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3) * 5
    views = [view(pose_above(angle)) for angle in (0, 40)]
    moved = [view(pose_above(angle), world=world) for angle in (0, 40)]

    before, after = match_views(*views), match_views(*moved)

    assert np.array_equal(before.target, after.target)
    assert after.metres == pytest.approx(before.metres, abs=1e-8)
    assert after.pixels == pytest.approx(before.pixels, abs=1e-5)


def test_most_distinctive_matches_come_first_and_fewer_are_the_first_of_more():
    first, second = view(pose_above(0)), view(pose_above(30))

    many, few = match_views(first, second, count=200), match_views(first, second, count=50)

    assert np.array_equal(many.source[:50], few.source)


def test_points_without_depth_take_no_part():
    one = view(pose_above(0))
    points = one.points.copy()
    points[:, :16] = 0
    half = View(resize=RESIZE, features=one.features, points=points, intrinsics=one.intrinsics, pose=one.pose)

    found = match_views(half, one)

    assert (found.source % 32 >= 16).all()
    assert len(found.source) == 32 * 16


def test_points_behind_the_second_camera_are_never_near():
    one = view(pose_above(0))
    behind = pose_above(0)
    behind[:3, 3] += 10 * behind[:3, 2]

    found = match_views(
        one, View(resize=RESIZE, features=one.features, points=one.points, intrinsics=one.intrinsics, pose=behind)
    )

    assert np.isinf(found.pixels).all()
    assert np.isfinite(found.metres).all()


def test_a_cropped_and_resized_camera_projects_to_the_same_pixel():
    resize = resize_for(640, 480, size=256, box=(100, 50, 400, 450))
    camera = np.array([[500.0, 0, 320], [0, 510.0, 240], [0, 0, 1]])
    point = np.array([-0.1, 0.05, 1.3])

    here = camera @ point
    there = resized_intrinsics(camera, resize) @ point

    assert there[:2] / there[2] == pytest.approx(resize.to_resized(here[:2] / here[2]))


def test_points_are_the_centres_of_pixels_with_their_own_depth():
    depth = np.arange(SIDE * SIDE, dtype=np.float64).reshape(SIDE, SIDE) + 1

    points = view_points(depth, CAMERA, RESIZE)

    down, across = RESIZE.grid_pixels()
    row, column = 5, 9
    z = depth[down[row], across[column]]
    projected = CAMERA @ points[row, column]
    assert points[row, column, 2] == z
    assert projected[:2] / z == pytest.approx([across[column] + 0.5, down[row] + 0.5])
