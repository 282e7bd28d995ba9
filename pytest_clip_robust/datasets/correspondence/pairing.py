"""Choice of image pairs for data sets that list none: few enough for a run, spread evenly over all candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.datasets.correspondence.poses import relative_angle

WIDEST = 120.0
"""Degrees; two views that differ by more have hardly anything in common (El Banani et al. 2024)."""

BIN = 30.0
VIEWS_PER_SCENE = 200
PAIRS_PER_BIN = 12
PAIRS_PER_CLASS = 120


def view_pairs(poses: Floats, scenes: Sequence[str]) -> Ints:
    """Choose pairs of views of one scene whose orientations differ by at most 120 degrees.

    Every scene contributes up to 12 pairs per bin of 30 degrees, evenly spread over the angles in the bin. A scene with
    more than 200 views, usually a video, is first thinned evenly to 200.

    Returns:
        (P, 2) int64 positions of views, the smaller first, in order.
    """
    chosen = []
    names = np.array(scenes)
    for scene in dict.fromkeys(scenes):
        views = np.flatnonzero(names == scene)
        views = views[spread(len(views), VIEWS_PER_SCENE)]
        first, second = _all_pairs(views)
        # A turntable's steps are whole degrees up to rounding, which must not decide the bin.
        angles = relative_angle(poses[first], poses[second]).round(2)
        bins = np.minimum(angles // BIN, WIDEST // BIN - 1)
        for one in np.unique(bins):
            rows = np.flatnonzero((bins == one) & (angles <= WIDEST))
            rows = rows[np.argsort(angles[rows], kind="stable")]
            rows = rows[spread(len(rows), PAIRS_PER_BIN)]
            chosen.append(np.column_stack([first[rows], second[rows]]))
    return _sorted(chosen)


def class_pairs(labels: Ints, instances: Sequence[str], seen: NDArray[np.bool_]) -> Ints:
    """Choose pairs of images of one class and two instances that have a visible keypoint in common.

    labels: (V,). instances: V names of objects. seen: (V, K), which keypoints are visible in an image.
    Every class contributes up to 120 pairs, evenly spread over all its pairs.

    Returns:
        (P, 2) int64 positions of images, the smaller first, in order.
    """
    chosen = []
    names = np.array(instances)
    for label in np.unique(labels):
        pictures = np.flatnonzero(labels == label)
        first, second = _all_pairs(pictures)
        fit = (names[first] != names[second]) & (seen[first] & seen[second]).any(axis=1)
        first, second = first[fit], second[fit]
        rows = spread(len(first), PAIRS_PER_CLASS)
        chosen.append(np.column_stack([first[rows], second[rows]]))
    return _sorted(chosen)


def spread(count: int, most: int) -> Ints:
    """Return at most `most` of the positions below `count`, evenly spread and including the first and the last.

    >>> spread(3, 5).tolist(), spread(9, 3).tolist()
    ([0, 1, 2], [0, 4, 8])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _all_pairs(positions: Ints) -> tuple[Ints, Ints]:
    """Return the first and the second position of all pairs of `positions`."""
    first, second = np.triu_indices(len(positions), k=1)
    return positions[first], positions[second]


def _sorted(chosen: Sequence[Ints]) -> Ints:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *chosen])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
