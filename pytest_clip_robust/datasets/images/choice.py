"""Choice of some images of a set: spread evenly over its classes, and the same ones on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.image_set import ImageSet


def take_evenly(images: ImageSet, count: int) -> ImageSet:
    """Return the images at `even_positions`, or all of them for 0."""
    return images.take(even_positions(images, count)) if 0 < count < len(images) else images


def even_positions(images: ImageSet, count: int) -> Ints:
    """Return the positions of `count` images, spread evenly over the classes and chosen by file name; 0 returns all.

    Names and not contents decide, so that the same photographs are chosen from a clean and from a corrupted copy.
    """
    if not 0 < count < len(images):
        return np.arange(len(images))
    order = np.array(sorted(range(len(images)), key=lambda i: (Path(images.samples[i]).stem, i)))
    rank = np.empty(len(images), np.int64)
    for label in np.unique(images.labels):
        of_class = order[images.labels[order] == label]
        rank[of_class] = np.arange(len(of_class))
    first = sorted(range(len(images)), key=lambda i: (rank[i], images.labels[i]))[:count]
    return np.array(sorted(first))
