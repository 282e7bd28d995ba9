"""The zero-shot classifier: class weights from text features, logits from image features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.vectors import row_lengths


def zero_shot_weights(
    text_features: NDArray[np.float32], n_classes: int, *, sizes: Sequence[int] = ()
) -> NDArray[np.float32]:
    """Return (C, D) class weights: the mean of each class's T unit text features, normalised to length 1.

    `text_features` is (C*T, D) of any length, class by class: the T prompts of the first class come first. Classes with
    more names than others have more prompts; `sizes` (C,) is the number of prompts of each.

    Raises:
        MeasurementError: the rows are not a multiple of `n_classes`, or the norm of a feature or of a mean
            is zero or not finite.

    >>> zero_shot_weights(np.array([[2.0, 0.0], [0.0, 5.0]], np.float32), 1)
    array([[0.70710677, 0.70710677]], dtype=float32)
    """
    even = n_classes > 0 and not len(text_features) % n_classes
    fits = len(sizes) == n_classes and min(sizes) > 0 and sum(sizes) == len(text_features) if sizes else even
    if text_features.ndim != 2 or not len(text_features) or not fits:
        raise MeasurementError(
            f"text features of shape {text_features.shape} for {n_classes} classes: "
            "expected as many rows as classes times templates"
        )
    lengths = row_lengths(text_features, "text")
    if len(set(sizes)) > 1:
        starts = np.cumsum([0, *sizes[:-1]])
        sums = np.add.reduceat(text_features / lengths[:, None], starts, axis=0, dtype=np.float64)
    else:
        by_class = text_features.reshape(n_classes, -1, text_features.shape[1])
        sums = np.einsum("ctd,ct->cd", by_class, 1 / lengths.reshape(n_classes, -1), dtype=np.float64)
    weights: NDArray[np.float32] = (sums / row_lengths(sums, "class")[:, None]).astype(np.float32)
    return weights


def zero_shot_logits(
    image_features: NDArray[np.float32], weights: NDArray[np.float32], *, scale: float, bias: float
) -> NDArray[np.float32]:
    """Return (N, C) logits ``scale * cosine + bias`` of (N, D) features of any length and (C, D) unit weights.

    In addition to the result, only a few thousand rows are in memory.

    Raises:
        MeasurementError: the dimensions differ, or the norm of a feature is zero or not finite.

    >>> zero_shot_logits(np.array([[0.0, 3.0]], np.float32), np.eye(2, dtype=np.float32), scale=100.0, bias=-1.0)
    array([[-1., 99.]], dtype=float32)
    """
    if image_features.ndim != 2 or weights.ndim != 2 or image_features.shape[1] != weights.shape[1]:
        raise MeasurementError(
            f"image features of shape {image_features.shape} and class weights of shape {weights.shape}: "
            "expected the same number of columns"
        )
    lengths = row_lengths(image_features, "image")
    logits = np.empty((len(image_features), len(weights)), np.float32)
    for part in row_slices(len(logits)):
        units = (image_features[part] / lengths[part, None]).astype(np.float32)
        np.matmul(units, weights.T, out=logits[part])
        logits[part] *= np.float32(scale)
        logits[part] += np.float32(bias)
    return logits
