from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pytest_clip_robust.datasets.correspondence.poses import (
    as_pose,
    check_poses,
    from_quaternion,
    inverse,
    relative_angle,
)
from pytest_clip_robust.errors import DataError

NUMBERS = st.floats(-5, 5)


@st.composite
def poses(draw):
    quaternion = draw(st.lists(NUMBERS, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
    return from_quaternion(quaternion, draw(st.lists(NUMBERS, min_size=3, max_size=3)))


@given(poses(), poses())
def test_the_relative_angle_is_symmetric_and_between_0_and_180(one, other):
    angle = relative_angle(one, other)
    assert 0 <= angle <= 180
    assert angle == pytest.approx(relative_angle(other, one), abs=1e-5)


@given(poses(), poses(), poses())
def test_moving_the_world_does_not_change_it(one, other, world):
    assert relative_angle(world @ one, world @ other) == pytest.approx(relative_angle(one, other), abs=1e-5)


@given(poses(), poses())
def test_it_is_the_angle_that_scipy_finds(one, other):
    turn = Rotation.from_matrix(one[:3, :3]).inv() * Rotation.from_matrix(other[:3, :3])
    assert relative_angle(one, other) == pytest.approx(np.degrees(turn.magnitude()), abs=1e-5)


def test_it_is_exact_for_the_smallest_turns():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, 1e-7, 0]).as_matrix()
    assert relative_angle(np.eye(4), turn) == pytest.approx(np.degrees(1e-7), rel=1e-6)


def test_many_are_compared_at_once():
    many = np.stack([np.eye(4), from_quaternion([1, 1, 0, 0], [0, 0, 0])])
    assert relative_angle(many, many[::-1]).tolist() == pytest.approx([90, 90])


@given(poses())
def test_the_inverse_is_the_inverse_and_every_pose_passes_the_check(pose):
    assert inverse(pose) @ pose == pytest.approx(np.eye(4), abs=1e-9)
    check_poses(pose[None], ["a"])


@given(st.lists(NUMBERS, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_a_quaternion_turns_as_scipys_does(quaternion):
    expected = Rotation.from_quat([*quaternion[1:], quaternion[0]]).as_matrix()
    assert from_quaternion(quaternion, [1, 2, 3])[:3, :3] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.diag([1.0, 1, -1, 1]), r"pose of view 'b' is not a rotation \(determinant -1\): one of its axes"),
        (np.diag([1.1, 1.1, 1.1, 1]), r"pose of view 'b' is not a rotation \(its axes are 0.21 off orthonormal\)"),
        (np.full((4, 4), np.inf), "pose of view 'b' is not finite: leave the view out"),
        (np.ones((4, 4)), r"pose of view 'b' ends in the row \[1.0, 1.0, 1.0, 1.0\]; expected \[0, 0, 0, 1\]"),
    ],
)
def test_what_is_no_pose_is_refused_by_name(pose, message):
    with pytest.raises(DataError, match=message):
        check_poses(np.stack([np.eye(4), pose]), ["a", "b"])


def test_a_pose_with_few_digits_passes():
    pose = np.round(from_quaternion([3, 1, -2, 0.5], [1, 2, 3]), 4)
    check_poses(pose[None], ["a"])


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "frame 3 has no pose"), ([1, 2, 3], "frame 3: pose .* expected a 4 x 4"), (["x"] * 16, "expected a 4 x 4")],
)
def test_a_value_that_is_no_matrix_is_refused(value, message):
    with pytest.raises(DataError, match=message):
        as_pose(value, "frame 3")
