"""Geometric correspondence: whether features find the same point of a scene from another point of view.

The set-up of Probe3D (El Banani et al. 2024, section 4): the points of one view are matched with those of another by
their features alone, the most distinctive matches are kept, and the known geometry gives the error of each match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.encoding.dense.nearest import FeatureMap, Points, two_nearest
from pytest_clip_robust.encoding.dense.resize import Resize
from pytest_clip_robust.encoding.dense.rows import MATCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a scene, resized for the model.

    features: at the grid points of `resize`. points: (H, W, 3) float64 metres in the camera's frame (x to the
    right, y down, z ahead) at the grid points of `resize`; z is 0 where the depth is unknown.
    intrinsics: (3, 3) in pixels of the resized picture. pose: (4, 4), camera to world.
    """

    resize: Resize
    features: FeatureMap
    points: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    pose: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matches:
    """N matches of two views, the most distinctive first.

    source, target: (N,) positions in the grids of the two views. metres: (N,) distance from the matched point to the
    true point. pixels: (N,) the same distance in the second picture, resized; infinite if the true point is behind the
    second camera.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    metres: NDArray[np.float64]
    pixels: NDArray[np.float64]


def view_points(depth: NDArray[np.floating], intrinsics: NDArray[np.floating], resize: Resize) -> NDArray[np.float64]:
    """Return the (H, W, 3) points at the grid of `resize`, from (H', W') `depth` in metres; 0 where it is unknown.

    Each point is the centre of the pixel that contains it, so that depth is never averaged across an edge.
    """
    down, across = resize.grid_pixels()
    z = np.asarray(depth, np.float64)[down[:, None], across]
    x = (across + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (down + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    return np.stack(np.broadcast_arrays(x * z, y[:, None] * z, z), axis=-1)


def resized_intrinsics(intrinsics: NDArray[np.floating], resize: Resize) -> NDArray[np.float64]:
    """Return the (3, 3) intrinsics of the resized picture."""
    across, down = resize.scale
    left, top = resize.box[:2]
    (fx, _, cx), (_, fy, cy), _ = np.asarray(intrinsics, np.float64).tolist()
    return np.array([[fx * across, 0, (cx - left) * across], [0, fy * down, (cy - top) * down], [0, 0, 1]])


def match_views(first: View, second: View, *, count: int = MATCHES) -> Matches:
    """Match the known points of `first` with those of `second` and return the `count` most distinctive matches.

    `first` needs at least one point of known depth, `second` at least two.
    """
    known = [torch.from_numpy(np.flatnonzero(view.points[..., 2] > 0)) for view in (first, second)]
    device = first.features.features.device
    source, target = (Points(view.features, kept.to(device)) for view, kept in zip((first, second), known, strict=True))
    found = two_nearest(source, target)
    # A stable sort, so that the order of equal weights does not depend on the machine.
    best = torch.argsort(found.weight, descending=True, stable=True)[:count]
    from_points, to_points = source.kept[best].cpu().numpy(), target.kept[found.index[best]].cpu().numpy()
    to_second = np.linalg.inv(second.pose) @ first.pose
    true = first.points.reshape(-1, 3)[from_points] @ to_second[:3, :3].T + to_second[:3, 3]
    guess = second.points.reshape(-1, 3)[to_points]
    metres = np.linalg.norm(true - guess, axis=1)
    return Matches(from_points, to_points, metres, _pixel_distances(true, guess, second.intrinsics))


def _pixel_distances(
    true: NDArray[np.float64], guess: NDArray[np.float64], intrinsics: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (N,) distances in pixels between the projections of two arrays of (N, 3) points."""
    ahead = true[:, 2] > 0
    places = [(points @ intrinsics.T)[:, :2] / np.where(ahead, points[:, 2], 1)[:, None] for points in (true, guess)]
    return np.where(ahead, np.linalg.norm(places[0] - places[1], axis=1), np.inf)
