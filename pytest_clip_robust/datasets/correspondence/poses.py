"""Camera poses: checks, conversions, and the angle between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import DataError

TOLERANCE = 1e-3
"""Largest deviation of a pose's axes from orthonormal: files hold few digits."""

OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Converts a camera that looks along -z with y up (OpenGL, Blender) to one that looks along z with y down (OpenCV)."""


def relative_angle(first: Floats, second: Floats) -> Floats:
    """Return the angle in degrees, in [0, 180], between the orientations of two cameras.

    first, second: (..., 4, 4) poses, both camera to world or both world to camera.

    >>> quarter = np.array([[0.0, -1, 0, 5], [1, 0, 0, 5], [0, 0, 1, 5], [0, 0, 0, 1]])
    >>> float(relative_angle(np.eye(4), quarter).round(6))
    90.0
    """
    turn = np.swapaxes(first[..., :3, :3], -1, -2) @ second[..., :3, :3]
    # From 2 sin and 2 cos of the angle: the arc cosine alone loses half of the digits near 0 and 180 degrees.
    axis = np.stack([turn[..., i, j] - turn[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=-1)
    angle: Floats = np.degrees(np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(turn, axis1=-2, axis2=-1) - 1))
    return angle


def check_poses(poses: Floats, names: Sequence[str]) -> None:
    """Check that (V, 4, 4) matrices are rigid poses.

    Raises:
        DataError: one is not finite, or is not a rotation with a translation; the message names the view.
    """
    for pose, name in zip(poses, names, strict=True):
        turn = pose[:3, :3]
        if not np.isfinite(pose).all():
            raise DataError(f"pose of view {name!r} is not finite: leave the view out")
        if not np.allclose(pose[3], [0, 0, 0, 1], atol=TOLERANCE):
            raise DataError(f"pose of view {name!r} ends in the row {pose[3].tolist()}; expected [0, 0, 0, 1]")
        off = float(np.abs(turn @ turn.T - np.eye(3)).max())
        if off > TOLERANCE:
            raise DataError(
                f"pose of view {name!r} is not a rotation (its axes are {off:.3g} off orthonormal): "
                "expected [R t] with R R' = 1, not scaled or sheared"
            )
        if np.linalg.det(turn) < 0:
            raise DataError(
                f"pose of view {name!r} is not a rotation (determinant -1): one of its axes points the wrong way"
            )


def from_quaternion(quaternion: ArrayLike, translation: ArrayLike) -> Floats:
    """Return the (4, 4) pose of a quaternion (w, x, y, z) of any length and a translation.

    Raises:
        ValueError: the quaternion does not have four numbers or is zero, or the translation does not have three.
    """
    values = np.asarray(quaternion, np.float64)
    if values.shape != (4,) or not np.linalg.norm(values) > 0:
        raise ValueError(f"quaternion {values.tolist()}; expected four numbers that are not all 0")
    w, x, y, z = values / np.linalg.norm(values)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = np.asarray(translation, np.float64).reshape(3)
    return pose


def as_pose(value: Any, where: str) -> Floats:
    """Return the (4, 4) matrix that a file holds as 16 numbers or as four rows.

    Raises:
        DataError: the value is missing, or is not such a matrix.
    """
    if value is None:
        raise DataError(f"{where} has no pose")
    try:
        return np.asarray(value, np.float64).reshape(4, 4)
    except (TypeError, ValueError):
        raise DataError(f"{where}: pose {str(value)[:60]!r}; expected a 4 x 4 matrix") from None


def inverse(poses: Floats) -> Floats:
    """Return the inverse of rigid poses (..., 4, 4): camera to world from world to camera, and the reverse.

    A matrix that is not a rotation does not become one, so that `check_poses` still finds it.
    """
    turned = np.swapaxes(poses[..., :3, :3], -1, -2)
    back = np.array(poses)
    back[..., :3, :3] = turned
    back[..., :3, 3:] = -turned @ poses[..., :3, 3:]
    return back
