"""Orders in which candidates are listed, and the candidates that scores choose in them."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.errors import MeasurementError

FEW_ORDERS = 6
"""All orders of up to three candidates are asked unless the caller sets another limit."""


def balanced_orders(size: int, *, most: int | None = None) -> Ints:
    """Return orders of K candidates, (O, K): each row lists the positions of candidates, and holds each once.

    All K! orders if they are at most `most` (by default 6, or K if that is more); otherwise K orders in which every
    candidate is at every place once, and for an even K follows every other candidate once (Williams 1949).

    Raises:
        MeasurementError: there are fewer than two candidates, or more than `most`.

    >>> balanced_orders(4).tolist()
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    most = max(size, FEW_ORDERS) if most is None else most
    if not 2 <= size <= most:
        raise MeasurementError(f"{most} orders of {size} candidates cannot be balanced; ask for {max(size, 2)} or more")
    if factorial(size) <= most:
        return np.array(list(permutations(range(size))), dtype=np.int64)
    first = [0] + [(i + 1) // 2 if i % 2 else size - i // 2 for i in range(1, size)]
    orders: Ints = (np.arange(size)[:, None] + np.array(first)) % size
    return orders


def in_orders(candidates: Ints, orders: Ints) -> tuple[Ints, Ints]:
    """Return the sample of each question (N * O,) and its list (N * O, K), for N samples with `candidates` (N, K).

    >>> in_orders(np.array([[4, 7]]), balanced_orders(2))[1].tolist()
    [[4, 7], [7, 4]]
    """
    of_sample = np.repeat(np.arange(len(candidates)), len(orders))
    return of_sample, candidates[:, orders].reshape(len(of_sample), -1)


def best_places(scores: NDArray[np.floating], shown: Ints) -> Ints:
    """Return (M,) the place of the highest of the `scores` (M, K) in each list; of equal ones the lowest class wins.

    Raises:
        MeasurementError: shapes disagree, or a score is NaN.
    """
    if scores.shape != shown.shape or np.isnan(scores).any():
        raise MeasurementError(f"scores of shape {scores.shape} for lists of {shown.shape}; expected one each, no NaN")
    tied = scores == scores.max(axis=1, keepdims=True)
    places: Ints = np.where(tied, shown, np.iinfo(np.int64).max).argmin(axis=1)
    return places


def averaged_over_orders(scores: NDArray[np.floating], of_sample: Ints, shown: Ints) -> tuple[Floats, Ints]:
    """Return the mean score of each candidate over the orders in which it was listed, (N, K), and its class (N, K).

    scores: (M, K), in the order of the lists `shown` (M, K), whose candidates are the same for all of a sample.

    Raises:
        MeasurementError: the lists of one sample differ in more than their order.
    """
    order = np.argsort(shown, axis=1, kind="stable")
    classes = np.take_along_axis(shown, order, axis=1)
    _, first, group = np.unique(of_sample, return_index=True, return_inverse=True)
    if (classes != classes[first][group]).any():
        raise MeasurementError("the lists of one sample differ in more than their order, so scores have no mean")
    sums = np.zeros((len(first), shown.shape[1]))
    np.add.at(sums, group, np.take_along_axis(np.asarray(scores, dtype=np.float64), order, axis=1))
    return sums / np.bincount(group)[:, None], classes[first]
