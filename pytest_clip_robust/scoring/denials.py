"""Denied words of an answer: "not a dog", "neither (1) nor (2)", "the dog is not visible"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pytest_clip_robust.scoring.words import ARTICLES, Word

Span = tuple[int, int]

CONTRASTS = frozenset({"but", "however", "although", "though", "whereas", "while", "because", "so"})
"""Words after which a negation no longer holds."""

NEGATIONS = frozenset({"not", "no", "never", "without", "neither", "nor", "none", "unlike", "lacks"})
NEGATING_PAIRS = frozenset({("rather", "than"), ("instead", "of"), ("opposed", "to")})
NO_NEGATIONS = frozenset({("not", "only"), ("not", "just"), ("no", "doubt"), ("without", "doubt"), ("no", "question")})
LINKS = frozenset({"and", "or", "nor"})

WORDS_AFTER = 6
"""The number of words after a name in which "is not visible" is looked for."""

_ABSENT = re.compile(
    r"(?:is|are|was|were) (?:incorrect|wrong|absent|missing|false"
    r"|not (?:visible|present|shown|there|here|seen|pictured|depicted|correct|right|in (?:image|picture|photo)))\b"
)


def denied(words: Sequence[Word], spans: Iterable[Span]) -> set[Span]:
    """Return those of the `spans` that an answer denies: names and marks of candidates, ``[start, end)`` in its words.

    A negation holds up to a pause or a contrast: "no dog or cat, but a bird" denies two of three. Words inside of a
    span negate nothing, as in the name "woman without a towel". What is said after the last of several spans is said of
    all: "(1) and (2) are incorrect".

    >>> from pytest_clip_robust.scoring.words import fold, words_of
    >>> words = words_of(fold("Not a dog: it is a cat. The bird is not visible."))
    >>> names = [(i, i + 1) for i, word in enumerate(words) if word.text in {"dog", "cat", "bird"}]
    >>> [words[start].text for start, _ in sorted(denied(words, names))]
    ['dog', 'bird']
    """
    texts = [word.text for word in words]
    ordered = sorted(set(spans))
    ends, before = dict(ordered), _under_negation(words, ordered)
    found: set[Span] = set()
    for start, end in reversed(ordered):
        after = [i for i in range(end, min(end + WORDS_AFTER, len(texts))) if texts[i] not in ARTICLES]
        linked = len(after) > 1 and texts[after[0]] in LINKS and (after[1], ends.get(after[1])) in found
        absent = _ABSENT.match(" ".join(texts[i] for i in after)) is not None
        if before[start] or absent or (linked and not before[after[1]]):
            found.add((start, end))
    return found


def _under_negation(words: Sequence[Word], spans: Iterable[Span]) -> list[bool]:
    """Return whether each word comes after a negation that still holds."""
    texts = [word.text for word in words]
    inside = {i for start, end in spans for i in range(start, end)}
    content = [i for i, text in enumerate(texts) if text not in ARTICLES]
    pairs = {i: (texts[i], texts[after]) for i, after in pairwise(content)}
    found, active = [], False
    for i, word in enumerate(words):
        active = active and not word.pause and word.text not in CONTRASTS
        found.append(active)
        pair = pairs.get(i, (word.text, ""))
        if i not in inside and ((word.text in NEGATIONS and pair not in NO_NEGATIONS) or pair in NEGATING_PAIRS):
            active = True
    return found
