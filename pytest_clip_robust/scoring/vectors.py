"""Unit vectors and their cosines. A cosine of two given vectors is always the same number, whatever its company."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.errors import MeasurementError

_ROWS_AT_A_TIME = 8192


def unit_rows(features: NDArray[np.floating], what: str) -> NDArray[np.float32]:
    """Return (N, D) features of length 1; `what` they are of goes into messages.

    Raises:
        MeasurementError: these are no (N, D) features, or one has no direction.

    >>> unit_rows(np.array([[0.0, 3.0]]), "image")
    array([[0., 1.]], dtype=float32)
    """
    if features.ndim != 2 or not features.size:
        raise MeasurementError(f"{what} features of shape {features.shape}; expected (N, D)")
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        row = int(bad.argmax())
        raise MeasurementError(f"{what} feature {row} has length {lengths[row]:g}: it points nowhere")
    units = np.empty(features.shape, np.float32)
    for start in range(0, len(units), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        units[part] = features[part] / lengths[part, None]
    return units


def cosines(
    left: NDArray[np.float32], right: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the (P,) float64 products of unit rows ``left[rows]`` and ``right[columns]``.

    A matrix product may add up in another order at its edges, so that equal vectors differ in the last bit; here each
    pair is added up alike, and equal vectors tie.
    """
    found = np.empty(len(rows), np.float64)
    for start in range(0, len(found), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        found[part] = np.einsum("nd,nd->n", left[rows[part]], right[columns[part]], dtype=np.float64)
    return found
