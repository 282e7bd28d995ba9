"""Unit vectors and their cosines. The cosine of two given vectors is the same number in every batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints, row_slices
from pytest_clip_robust.errors import MeasurementError

ROWS = 8192


def row_lengths(features: NDArray[np.floating], what: str) -> Floats:
    """Return the (N,) L2 norms of (N, D) features in float64; `what` names the features in messages.

    Raises:
        MeasurementError: the shape is not (N, D), or a norm is zero or not finite.
    """
    if features.ndim != 2 or not features.size:
        raise MeasurementError(f"{what} features of shape {features.shape}; expected (N, D)")
    # einsum needs no copy of the features.
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        row = int(bad.argmax())
        raise MeasurementError(f"{what} feature {row} has norm {lengths[row]:g}, so it cannot be normalised")
    return lengths


def unit_rows(features: NDArray[np.floating], what: str) -> NDArray[np.float32]:
    """Return (N, D) features of any length, normalised to length 1; `what` names them in messages.

    Raises:
        MeasurementError: as for `row_lengths`.

    >>> unit_rows(np.array([[0.0, 3.0]]), "image")
    array([[0., 1.]], dtype=float32)
    """
    lengths = row_lengths(features, what)
    units = np.empty(features.shape, np.float32)
    for part in row_slices(len(units), ROWS):
        units[part] = features[part] / lengths[part, None]
    return units


def cosines(left: NDArray[np.float32], right: NDArray[np.float32], rows: Ints, columns: Ints) -> Floats:
    """Return the (P,) float64 products of unit rows ``left[rows]`` and ``right[columns]``.

    A matrix product can add up in another order at its edges, so that equal vectors differ in the last bit. Here every
    pair is added up in the same order, and equal vectors tie.
    """
    found = np.empty(len(rows), np.float64)
    for part in row_slices(len(found), ROWS):
        found[part] = np.einsum("nd,nd->n", left[rows[part]], right[columns[part]], dtype=np.float64)
    return found
