"""Geometry of the embedding space: modality gap, alignment and uniformity of image and text features.

These are diagnostics: they do not show that a model is good, but fine-tuning often changes them before any accuracy.
All are of unit features; captions of one image are one cluster (see `stats.clusters`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, row_slices
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.rankings import CaptionedImages
from pytest_clip_robust.scoring.vectors import cosines, unit_rows
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.resampling import SEED

Tower = Literal["image", "text"]

TOWERS: tuple[Tower, ...] = ("image", "text")
SAMPLES = 10_000
"""Uniformity is measured on at most this many features of a tower, drawn with a fixed seed."""

GAP = Metric("features.modality_gap", direction="lower", tolerance=0.05, headline=False)
ALIGNMENT = Metric("features.alignment", direction="lower", tolerance=0.05, headline=False)
UNIFORMITY = Metric("features.uniformity_{tower}", direction="lower", tolerance=0.05, headline=False)


def modality_gap(found: CaptionedImages) -> Measurement:
    """Measure the distance between the mean image and the mean caption, 0 to 2, as ``features.modality_gap``.

    After Liang et al. (2022). The interval is that of the difference along the line between the two means.
    """
    images, captions = _units(found)
    apart = images.mean(axis=0, dtype=np.float64) - captions.mean(axis=0, dtype=np.float64)
    gap = float(np.linalg.norm(apart))
    along = apart / gap if gap > 0 else apart
    of_images, of_captions = found.clusters
    shares = _shares(images @ along, of_images) - _shares(captions @ along, of_captions)
    # To first order each group changes the gap by its share, so the gap can be treated as a mean over groups.
    values = gap + len(shares) * shares
    return _measurement(found, GAP, gap, values, np.arange(len(values)), bounds=(0.0, 2.0), n=len(images))


def alignment(found: CaptionedImages) -> Measurement:
    """Measure the mean squared distance of an image and its caption, 0 to 4, as ``features.alignment``.

    After Wang and Isola (2020), with their exponent 2. `details` has the mean cosine, an equivalent number.
    """
    images, captions = _units(found)
    rows, columns = found.pairs.T
    near = cosines(images, captions, rows, columns)
    values = np.maximum(2 - 2 * near, 0)
    names, of_images = found.caption_names, found.clusters[0][rows]
    return Measurement.of(
        found,
        ALIGNMENT,
        float(values.mean()),
        clusters.mean_interval(values, of_images, bounds=(0.0, 4.0)),
        n=len(values),
        outcomes=values,
        samples=[names[caption] for caption in columns.tolist()],
        evidence=clusters.mean_evidence(found.dataset, values, of_images),
        details={"mean_cosine": float(near.mean())},
    )


def uniformity(found: CaptionedImages, tower: Tower) -> Measurement:
    """Measure ``log mean exp(-2 d^2)`` over pairs of a tower's features, -8 to 0, as ``features.uniformity_<tower>``.

    After Wang and Isola (2020), with their factor 2: the lower, the more evenly the features cover the sphere. The
    interval is that of a U-statistic (Hoeffding 1948), from each feature's mean over all others.

    Raises:
        MeasurementError: the tower has a single feature.
    """
    units, groups = _units(found)[TOWERS.index(tower)], found.clusters[TOWERS.index(tower)]
    if len(units) > SAMPLES:
        drawn = np.sort(np.random.default_rng(SEED).choice(len(units), SAMPLES, replace=False))
        units, groups = units[drawn], groups[drawn]
    if len(units) < 2:
        raise MeasurementError(f"uniformity of {found.dataset!r}: {len(units)} {tower} feature; give at least 2")
    shares = _potentials(units)
    mean = float(shares.mean())
    value = float(np.log(mean))
    values = value + 2 * (shares - mean) / mean
    return _measurement(found, UNIFORMITY.named(tower=tower), value, values, groups, bounds=(-8.0, 0.0), n=len(units))


def _shares(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return each group's part of the mean of (N,) centred `values`."""
    return np.bincount(groups, weights=values - values.mean()) / len(values)


def _potentials(units: NDArray[np.float32]) -> Floats:
    """Return each feature's mean of ``exp(-2 d^2)`` to the others."""
    sums = np.empty(len(units))
    for rows in row_slices(len(units), 1024):
        near = units[rows] @ units.T
        near -= 1
        near *= 4  # d^2 = 2 - 2 cos
        np.exp(near, out=near)
        near[np.arange(len(near)), np.arange(rows.start, rows.stop)] = 0
        sums[rows] = near.sum(axis=1, dtype=np.float64)
    return sums / (len(units) - 1)


def _units(found: CaptionedImages) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return unit_rows(found.images, "image"), unit_rows(found.captions, "caption")


def _measurement(
    found: CaptionedImages,
    metric: Metric,
    value: float,
    values: Floats,
    groups: NDArray[np.int64],
    *,
    bounds: tuple[float, float],
    n: int,
) -> Measurement:
    """Measure `value`, the mean of `values`, which are drawn by whole `groups`."""
    return Measurement.of(
        found,
        metric,
        value,
        clusters.mean_interval(values, groups, bounds=bounds),
        n=n,
        evidence=clusters.mean_evidence(found.dataset, values, groups),
    )
