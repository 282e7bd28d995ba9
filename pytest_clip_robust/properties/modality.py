"""How the two towers' features lie: the gap between them, how close pairs are, how evenly each tower fills its sphere.

Diagnostics: none says that a model is good, but fine-tuning often moves them before any accuracy. All are of unit
features, and by image where a mean is taken over captions, as `stats.clusters` has it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.rankings import CaptionedImages
from pytest_clip_robust.scoring.vectors import cosines, unit_rows
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.bootstrap import SEED

Tower = Literal["image", "text"]

TOWERS: tuple[Tower, ...] = ("image", "text")
SAMPLES = 10_000
"""Uniformity looks at the pairs among at most this many features of a tower, drawn once and for all."""

_ROWS_AT_A_TIME = 1024


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
    # To first order a group moves the gap by its share, so that the gap is a mean over groups like any other.
    values = gap + len(shares) * shares
    return _measurement(found, "modality_gap", gap, values, np.arange(len(values)), bounds=(0.0, 2.0), n=len(images))


def alignment(found: CaptionedImages) -> Measurement:
    """Measure the mean squared distance of an image and its caption, 0 to 4, as ``features.alignment``.

    After Wang and Isola (2020), with their exponent 2. `details` has the mean cosine, which says the same.
    """
    images, captions = _units(found)
    rows, columns = found.pairs.T
    near = cosines(images, captions, rows, columns)
    values = np.maximum(2 - 2 * near, 0)
    names, of_images = found.caption_names, found.clusters[0][rows]
    return Measurement(
        metric="features.alignment",
        value=float(values.mean()),
        n=len(values),
        interval=clusters.mean_interval(values, of_images, bounds=(0.0, 4.0)),
        direction="lower",
        dataset=found.dataset,
        outcomes=values.astype(np.float32),
        samples=[names[caption] for caption in columns.tolist()],
        evidence=clusters.mean_evidence(found.dataset, values, of_images),
        details={"mean_cosine": float(near.mean())},
        provenance=found.provenance,
    )


def uniformity(found: CaptionedImages, tower: Tower) -> Measurement:
    """Measure ``log mean exp(-2 d^2)`` over pairs of a tower's features, -8 to 0, as ``features.uniformity_<tower>``.

    After Wang and Isola (2020), with their factor 2: the lower, the more evenly the features fill the sphere. The
    interval takes each feature's mean over the others as its share (Hoeffding 1948).

    Raises:
        MeasurementError: the tower has a single feature.
    """
    units, groups = _units(found)[TOWERS.index(tower)], found.clusters[TOWERS.index(tower)]
    if len(units) > SAMPLES:
        drawn = np.sort(np.random.default_rng(SEED).choice(len(units), SAMPLES, replace=False))
        units, groups = units[drawn], groups[drawn]
    if len(units) < 2:
        raise MeasurementError(f"uniformity of {found.dataset!r}: {len(units)} {tower} feature has no pair; give 2")
    shares = _potentials(units)
    mean = float(shares.mean())
    value = float(np.log(mean))
    values = value + 2 * (shares - mean) / mean
    return _measurement(found, f"uniformity_{tower}", value, values, groups, bounds=(-8.0, 0.0), n=len(units))


def _shares(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return what each group adds to the mean of (N,) `values`, less that mean's part."""
    return np.bincount(groups, weights=values - values.mean()) / len(values)


def _potentials(units: NDArray[np.float32]) -> Floats:
    """Return each feature's mean of ``exp(-2 d^2)`` to the others."""
    sums = np.empty(len(units))
    for start in range(0, len(units), _ROWS_AT_A_TIME):
        part = units[start : start + _ROWS_AT_A_TIME]
        near = part @ units.T
        near -= 1
        near *= 4  # d^2 = 2 - 2 cos
        np.exp(near, out=near)
        near[np.arange(len(part)), np.arange(start, start + len(part))] = 0
        sums[start : start + len(part)] = near.sum(axis=1, dtype=np.float64)
    return sums / (len(units) - 1)


def _units(found: CaptionedImages) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return unit_rows(found.images, "image"), unit_rows(found.captions, "caption")


def _measurement(
    found: CaptionedImages,
    name: str,
    value: float,
    values: Floats,
    groups: NDArray[np.int64],
    *,
    bounds: tuple[float, float],
    n: int,
) -> Measurement:
    """Measure `value`, the mean of `values`, which are drawn by whole `groups`."""
    return Measurement(
        metric=f"features.{name}",
        value=value,
        n=n,
        interval=clusters.mean_interval(values, groups, bounds=bounds),
        direction="lower",
        dataset=found.dataset,
        evidence=clusters.mean_evidence(found.dataset, values, groups),
        provenance=found.provenance,
    )
