"""Scores of candidate names from a language model's log-probabilities, in three variants that choose different winners.

A sum favours short names, since every token costs; a mean favours long ones, whose later tokens are nearly certain; per
byte does not depend on how a tokenizer splits a name. None is right, so each is a variant with an id of its own.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import MeasurementError

LikelihoodVariant = Literal["sum", "mean", "per_byte"]
LIKELIHOOD_VARIANTS: tuple[LikelihoodVariant, ...] = get_args(LikelihoodVariant)


def likelihood_scores(
    sums: NDArray[np.floating], tokens: NDArray[np.integer], sizes: NDArray[np.integer], variant: LikelihoodVariant
) -> Floats:
    """Return the scores (N, C) of C candidates for N samples, in nats per name, per token or per byte.

    sums: (N, C) summed log-probabilities of each candidate's tokens. tokens, sizes: (C,) or (N, C) numbers of tokens
    and of UTF-8 bytes. variant: ``sum``, ``mean`` (over tokens) or ``per_byte``.

    Raises:
        MeasurementError: the variant is unknown, shapes disagree, a sum is above 0 or not finite, a count is below 1.

    >>> sums, tokens, sizes = np.array([[-2.0, -3.0]]), np.array([1, 2]), np.array([3, 4])
    >>> [likelihood_scores(sums, tokens, sizes, one).argmax(axis=1).item() for one in LIKELIHOOD_VARIANTS]
    [0, 1, 0]
    """
    if variant not in LIKELIHOOD_VARIANTS:
        raise MeasurementError(f"no likelihood variant {variant!r}; it is one of {', '.join(LIKELIHOOD_VARIANTS)}")
    for name, counts in (("tokens", tokens), ("bytes", sizes)):
        if counts.shape not in {sums.shape, sums.shape[-1:]}:
            raise MeasurementError(f"{name} of shape {counts.shape} for log-probabilities of shape {sums.shape}")
        if counts.size and counts.min() < 1:
            raise MeasurementError(f"a candidate of {counts.min()} {name}; expected at least 1")
    if not (np.isfinite(sums) & (sums <= 0)).all():
        wrong = sums[~(np.isfinite(sums) & (sums <= 0))][0]
        raise MeasurementError(f"the log-probability {wrong} of a candidate; expected a finite number, 0 or less")
    scores: Floats = sums.astype(np.float64)
    if variant != "sum":
        scores /= tokens if variant == "mean" else sizes
    return scores
