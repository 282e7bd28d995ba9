"""Captions against the same words in other orders, after the order sets of ARO (Yuksekgonul et al. 2023).

Three orders: all words shuffled, words shuffled within groups of three, groups of three shuffled. The other two orders
of ARO shuffle by part of speech and need a tagger; ARO's files can be read as a set of false captions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from pytest_clip_robust.datasets.captions.captions import CaptionSet
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet
from pytest_clip_robust.errors import DataError

KIND = "order"
PUNCTUATION = re.compile(r'[.,;:!?"()]+')
DRAWS = 20
"""How often an order is drawn again if it is the caption itself."""

Words = list[str]


def word_order_set(found: CaptionSet) -> ContrastSet:
    """Return the first caption of every image with its words in other orders, in lower case without punctuation.

    The orders of a caption depend only on its words. Images whose first caption has no other order are left out.

    Raises:
        DataError: no caption has another order.
    """
    firsts: dict[int, int] = {}
    for image, caption in found.pairs.tolist():
        firsts.setdefault(image, caption)
    items = []
    for image, caption in sorted(firsts.items()):
        words = PUNCTUATION.sub(" ", found.captions[caption].lower()).split()
        orders = other_orders(words)
        if orders:
            items.append((image, " ".join(words), orders))
    if not items:
        raise DataError(f"data set {found.name!r}: no caption has words in another order")
    text_of: dict[str, int] = {}
    true_of = [text_of.setdefault(text, len(text_of)) for _, text, _ in items]
    false = [(i, text_of.setdefault(text, len(text_of))) for i, (_, _, orders) in enumerate(items) for text in orders]
    return ContrastSet(
        images=found.images,
        texts=list(text_of),
        image_of=np.array([image for image, _, _ in items], np.int64),
        true_of=np.array(true_of, np.int64),
        false_items=np.array([i for i, _ in false], np.int64),
        false_of=np.array([text for _, text in false], np.int64),
        kinds=[KIND] * len(items),
        samples=[found.images.samples[image] for image, _, _ in items],
        fingerprint=hashlib.sha256(f"{KIND}|{found.fingerprint}".encode()).hexdigest(),
    )


def other_orders(words: Sequence[str]) -> list[str]:
    """Return up to three texts with the same words in other orders.

    >>> other_orders(["dog"])
    []
    """
    seed = hashlib.sha256(" ".join(words).encode()).digest()
    rng = np.random.default_rng(list(seed))
    orders = [_other(words, shuffle, rng) for shuffle in (_words, _within_threes, _threes)]
    return list(dict.fromkeys(text for text in orders if text))


def _other(
    words: Sequence[str], shuffle: Callable[[Words, np.random.Generator], Words], rng: np.random.Generator
) -> str:
    for _ in range(DRAWS):
        drawn = shuffle(list(words), rng)
        if drawn != list(words):
            return " ".join(drawn)
    return ""


def _words(words: Words, rng: np.random.Generator) -> Words:
    return [words[i] for i in rng.permutation(len(words))]


def _within_threes(words: Words, rng: np.random.Generator) -> Words:
    return [word for three in _in_threes(words) for word in _words(three, rng)]


def _threes(words: Words, rng: np.random.Generator) -> Words:
    threes = _in_threes(words)
    return [word for i in rng.permutation(len(threes)) for word in threes[i]]


def _in_threes(words: Words) -> list[Words]:
    return [words[start : start + 3] for start in range(0, len(words), 3)]
