"""Which pictures are compared, where a data set does not say: few enough for a run, spread over all there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.poses import relative_angle

WIDEST = 120.0
"""Degrees; of views that are turned further than that hardly anything is seen in both (El Banani et al. 2024)."""

BIN = 30.0
VIEWS_A_SCENE = 200
PAIRS_A_BIN = 12
PAIRS_A_CLASS = 120


def view_pairs(poses: NDArray[np.float64], scenes: Sequence[str]) -> NDArray[np.int64]:
    """Choose pairs of views of one scene that are turned against each other by at most 120 degrees.

    Of every scene and bin of 30 degrees come up to 12 pairs, evenly spread over the angles in it. A scene of more than
    200 views, a film as a rule, is thinned to 200 of them first, as evenly.

    Returns:
        (P, 2) int64 positions of views, the smaller first, in order.
    """
    chosen = []
    names = np.array(scenes)
    for scene in dict.fromkeys(scenes):
        views = np.flatnonzero(names == scene)
        views = views[spread(len(views), VIEWS_A_SCENE)]
        first, second = _two_of(views)
        # A turntable's steps are whole degrees but for rounding, which must not decide the bin.
        angles = relative_angle(poses[first], poses[second]).round(2)
        bins = np.minimum(angles // BIN, WIDEST // BIN - 1)
        for one in np.unique(bins):
            there = np.flatnonzero((bins == one) & (angles <= WIDEST))
            there = there[np.argsort(angles[there], kind="stable")]
            there = there[spread(len(there), PAIRS_A_BIN)]
            chosen.append(np.column_stack([first[there], second[there]]))
    return _sorted(chosen)


def class_pairs(labels: NDArray[np.int64], instances: Sequence[str], seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose pairs of pictures of one class and two instances with a keypoint that both show.

    labels: (V,). instances: V names of objects. seen: (V, K), which keypoints a picture shows.
    Of every class come up to 120 pairs, evenly spread over all in order.

    Returns:
        (P, 2) int64 positions of pictures, the smaller first, in order.
    """
    chosen = []
    names = np.array(instances)
    for label in np.unique(labels):
        pictures = np.flatnonzero(labels == label)
        first, second = _two_of(pictures)
        fit = (names[first] != names[second]) & (seen[first] & seen[second]).any(axis=1)
        first, second = first[fit], second[fit]
        there = spread(len(first), PAIRS_A_CLASS)
        chosen.append(np.column_stack([first[there], second[there]]))
    return _sorted(chosen)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of the positions below `count`, evenly spread, first and last among them.

    >>> spread(3, 5).tolist(), spread(9, 3).tolist()
    ([0, 1, 2], [0, 4, 8])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _two_of(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both sides of all pairs of `positions`."""
    first, second = np.triu_indices(len(positions), k=1)
    return positions[first], positions[second]


def _sorted(chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *chosen])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
