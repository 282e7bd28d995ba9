"""Match the pictures and texts of the batch, and compare the hits with guessing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binom

from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.check.encoding import Features, Rows, unit

SIGNIFICANT = 0.01
"""Largest p-value of a model that does better than guessing: 5 of 16 have p = 0.003."""


class Matching(NamedTuple):
    """The answers on N pictures with N texts.

    hits: how many of the `pictures` have the largest logit for their own text. p: the probability of as many hits or
        more by guessing.
    sharpness: mean largest softmax probability, 1/N to 1. margin: mean cosine of the own text minus the best other one.
    log_likelihood: (2N,) log softmax probability of the own text of each picture, and of the own picture of each text.
    """

    hits: int
    pictures: int
    p: float
    sharpness: float
    margin: float
    log_likelihood: NDArray[np.float64]


def match(images: Rows, texts: Rows, scale: float) -> Matching:
    """Match the features of N pictures with those of their N texts; logits are scale * cosine.

    >>> match(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), 100.0).p == 1 / 256
    True
    """
    cosines = unit(images).astype(np.float64) @ unit(texts).astype(np.float64).T
    count = len(cosines)
    own = np.diag(cosines)
    others = np.where(np.eye(count, dtype=bool), -np.inf, cosines).max(axis=1)
    hits = int((own > others).sum())
    by_image, by_text = log_softmax(scale * cosines, axis=1), log_softmax(scale * cosines, axis=0)
    return Matching(
        hits,
        count,
        guessed(hits, count),
        float(np.exp(by_image.max(axis=1)).mean()),
        float((own - others).mean()),
        np.concatenate([np.diag(by_image), np.diag(by_text)]),
    )


def guessed(hits: int, pictures: int) -> float:
    """Return the probability of as many hits or more by guessing, which is right with 1/N for each of N pictures.

    It is exact: P(X >= hits) for X ~ Binomial(N, 1/N).

    >>> guessed(4, 4) == 1 / 256
    True
    """
    return float(binom.sf(hits - 1, pictures, 1 / pictures))


def better_than_guessing(pictures: int) -> str:
    """Return what is expected of a model that matches pictures with texts."""
    return f"better than guessing (1 of {pictures}), p at most {SIGNIFICANT:g}"


def check_matching(features: Features, scale: float) -> Check:
    """Judge whether a model matches pictures and texts better than guessing."""
    if features.texts is None:
        return not_applicable("matching", "the model has no text tower")
    found = match(features.images, features.texts, scale)
    warning = ""
    if not found.p <= SIGNIFICANT:
        warning = (
            "it does not recognise everyday objects: unless it was trained for other pictures, check its weights, "
            "tokenizer, preprocessing and activation"
        )
    return judged(
        "matching",
        f"{found.hits} of {found.pictures} pictures (p {found.p:.1g}), sharpness {found.sharpness:.2f}, "
        f"margin {found.margin:+.3f}",
        expected=better_than_guessing(found.pictures),
        warning=warning,
    )
