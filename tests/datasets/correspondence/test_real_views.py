"""Posed views and keypoints that come from elsewhere: points of one view are found again in another one's depth."""

from __future__ import annotations

import numpy as np
import pytest
from posed_scene import found_again

from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.correspondence.poses import relative_angle
from pytest_clip_robust.datasets.correspondence.view_set import depth_in_metres
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import parse_data_option


def angles_of(views):
    return relative_angle(views.poses[views.pairs[:, 0]], views.poses[views.pairs[:, 1]])


def test_points_of_a_rendered_object_fall_onto_it_again(shared):
    views = load_view_set(parse_data_option(f"lego={shared / 'data' / 'nerf_lego_25'}"))
    assert len(views.images) == 25
    assert views.intrinsics[0].tolist()[0] == pytest.approx([555.5555, 0, 200])
    near = views.pairs[angles_of(views) < 45][::4]
    found = [found_again(views, *pair)[0] for pair in near]
    assert np.mean([np.isfinite(one).mean() for one in found]) > 0.985
    assert np.mean([np.median(one) for one in found]) < 8 / 255 / 2  # half a step of its depth


def test_points_of_a_real_room_are_found_again_within_millimetres(shared):
    views = load_view_set(parse_data_option(f"room={shared / 'data' / 'open3d_rgbd'}"))
    assert len(views.images) == 5
    assert len(views.pairs) == 10
    assert angles_of(views).max() < 5
    for pair in views.pairs[::8]:
        error, inside = found_again(views, *pair)
        assert inside > 0.98
        assert np.median(error) < 0.006


def test_points_of_the_showrooms_scenes_are_found_again():
    views = load_view_set(parse_data_option("showroom=showroom:views"))
    assert len(views.images) == 144
    angles = angles_of(views)
    assert np.unique(angles.round(2)).tolist() == [15, 20, 30, 35, 40, 50, 55, 60, 70, 75, 90, 105, 120]
    objects = [scene for scene in dict.fromkeys(views.scenes) if not scene.startswith("room")]
    for scene in objects:
        near = next(pair for pair in views.pairs[angles > 25].tolist() if views.scenes[pair[0]] == scene)
        error, _ = found_again(views, *near)
        assert np.median(error) < 0.004 * np.median(depth_in_metres(views, near[0])), scene


def test_the_showrooms_keypoints_lie_on_their_objects():
    found = load_keypoint_set(parse_data_option("parts=showroom:keypoints"))
    assert len(found.images) == 72
    assert found.points.shape == (72, 8, 2)
    assert found.images.class_names == ("bed", "cabinet", "car", "chair", "sofa", "table")
    assert np.bincount(found.images.labels[found.pairs[:, 0]]).tolist() == [54] * 6
    left, top, right, bottom = found.boxes.T[..., None]
    x, y = found.points[..., 0], found.points[..., 1]
    seen = ~np.isnan(x)
    assert seen.any(axis=1).all()
    inside = (left - 1e-3 <= x) & (x <= right + 1e-3) & (top - 1e-3 <= y) & (y <= bottom + 1e-3)
    assert inside[seen].all()
