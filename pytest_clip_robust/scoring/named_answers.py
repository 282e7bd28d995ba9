"""The candidate that a free-text answer names, by a deterministic matcher without a model of its own.

A candidate is named if one of its names occurs and is affirmed. An answer that affirms several candidates, or none, is
no answer: to guess for the model would hide what it cannot do. Where names overlap, the longest at a place counts, so
"a hot dog" does not name the dog.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.denials import Span, denied
from pytest_clip_robust.scoring.option_marks import Mark, marks_of
from pytest_clip_robust.scoring.words import ARTICLES, SMALLEST_NOUN, Word, fold, forms, words_of

Reason = Literal["named", "letter", "several", "negated", "none", "refused", "empty"]

_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|(?:i|we) can not|unable to|not able to|as an ai|(?:decline|refuse) to"
    r"|can not (?:assist|help|provide|answer|comply|determine|tell))\b"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The meaning of one answer: the position of the candidate that it chooses, or None, with the reason.

    named: a name of this candidate alone is affirmed. letter: the mark of its option is given. several: more than one
    candidate is affirmed, or a name contradicts the mark before it. negated: candidates are only denied. none: no
    candidate occurs. refused: none occurs, and the answer declines or apologises. empty: it has no word.
    """

    position: int | None
    reason: Reason


class _Entry(NamedTuple):
    """A name of a candidate; `words` without articles, None for a spelling that was derived from the name."""

    candidate: int
    words: tuple[str, ...] | None
    first: bool


class _Mention(NamedTuple):
    """The words ``[start, end)`` of an answer that name `candidates`: several if they share the name."""

    start: int
    end: int
    candidates: frozenset[int]

    @property
    def span(self) -> Span:
        return self.start, self.end


class NamedAnswers:
    """Reads free-text answers as one of K candidates.

    candidates: a name per candidate, or several: synonyms, with the name that the question uses first. A synonym that
    several candidates share names all of them, unless it is the first name of one.

    Case, accents, punctuation, articles, and singular against plural do not matter, and neither does whether a compound
    is written as one word. An answer that consists of a first name alone always chooses its candidate.

    Raises:
        MeasurementError: there is no candidate, a name has no letter or digit, or two candidates have the same first
            name.

    >>> reader = NamedAnswers(["dog", "hot dog", ("couch", "sofa")])
    >>> reader.read("It's not a dog but two sofas.")
    Reading(position=2, reason='named')
    >>> reader.read("B. A hot dog", marks="ABC").reason, reader.read("A dog, or a hotdog").reason
    ('letter', 'several')
    """

    def __init__(self, candidates: Sequence[str | Sequence[str]]) -> None:
        if not candidates:
            raise MeasurementError("no candidates to read answers for; give at least one name")
        self._size = len(candidates)
        self._whole: dict[tuple[str, ...], int] = {}
        self._words: dict[str, str] = {}
        self._entries: dict[tuple[str, ...], list[_Entry]] = {}
        names = [
            (candidate, _checked(spoken(name), name, candidate), place == 0)
            for candidate, given in enumerate(candidates)
            for place, name in enumerate([given] if isinstance(given, str) else given or [""])
        ]
        for candidate, name, first in names:
            if first and self._whole.setdefault(name, candidate) != candidate:
                raise MeasurementError(
                    f"candidates {self._whole[name]} and {candidate} are both named {' '.join(name)!r}; "
                    "give names that differ in more than case and punctuation"
                )
        entries = [
            one for candidate, name, first in names for one in _spellings(candidate, _content(name), first=first)
        ]
        for key, _ in entries:
            for word in key:
                self._join(word)
        for key, entry in entries:
            self._entries.setdefault(tuple(map(self._root, key)), []).append(entry)
        self._longest = max(map(len, self._entries))

    def read(self, answer: str, *, marks: Sequence[str] = ()) -> Reading:
        """Return which candidate `answer` chooses; `marks` are the K letters or numbers that the question gave them.

        Marks count only if the answer uses them as such, and before names: "(B) because of its ears, unlike the dog".

        Raises:
            MeasurementError: there are marks, but not one of its own for every candidate.
        """
        if marks and (len(marks) != self._size or len(set(map(fold, marks))) != self._size):
            raise MeasurementError(
                f"marks {tuple(marks)} for {self._size} candidates; expected a different one for each"
            )
        folded = fold(answer)
        words = words_of(folded)
        if not words:
            return Reading(None, "empty")
        texts = tuple(word.text for word in words)
        if texts in self._whole:
            return Reading(self._whole[texts], "named")
        mentions = list(self._mentions(texts))
        chosen = _options(marks_of(folded, marks) if marks else [], words, mentions)
        wrong = denied(words, [*(one.span for one in mentions), *(one.span for one in chosen)])
        letters = [one for one in chosen if one.span not in wrong]
        named = [one for one in mentions if one.span not in wrong]
        if letters:
            return _of_letters(letters, texts, named)
        if named:
            return _of_candidates(frozenset().union(*(one.candidates for one in named)), "named")
        if _REFUSAL.search(" ".join(texts)):
            return Reading(None, "refused")
        return Reading(None, "negated" if mentions or chosen else "none")

    def _mentions(self, texts: tuple[str, ...]) -> Iterator[_Mention]:
        """Find names from left to right, the longest first; articles between their words do not count."""
        places = [i for i, text in enumerate(texts) if text not in ARTICLES]
        said = [texts[i] for i in places]
        roots = tuple(map(self._root, said))
        at = 0
        while at < len(roots):
            size, entries = self._longest_at(roots, said, at)
            if entries:
                end = places[at + size - 1] + 1
                yield _Mention(places[at], end, _settled(entries, tuple(said[at : at + size])))
            at += size

    def _longest_at(self, roots: tuple[str, ...], said: list[str], at: int) -> tuple[int, list[_Entry]]:
        """Return the number of words of the longest name that begins `at`, with its entries; 1 and no entry if none."""
        for size in range(min(self._longest, len(roots) - at), 0, -1):
            if found := self._entries.get(roots[at : at + size]):
                return size, found
            if size == 2 and min(map(len, said[at : at + 2])) >= SMALLEST_NOUN:
                joined = self._entries.get((self._root("".join(said[at : at + 2])),))
                if joined:
                    return size, joined
        return 1, []

    def _join(self, word: str) -> None:
        """Let all forms of `word` have one root."""
        for form in forms(word):
            self._words[self._root(form)] = self._root(word)

    def _root(self, word: str) -> str:
        while (above := self._words.get(word, word)) != word:
            word = above
        return word


def spoken(name: str) -> tuple[str, ...]:
    """Return the words of a name; names with equal words cannot be told apart in an answer.

    >>> spoken("T-Shirt") == spoken("t shirt")
    True
    """
    return tuple(word.text for word in words_of(fold(name)))


def _checked(words: tuple[str, ...], name: str, candidate: int) -> tuple[str, ...]:
    if not words:
        raise MeasurementError(f"candidate {candidate} has the name {name!r}; expected letters or digits")
    return words


def _content(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in ARTICLES) or words


def _spellings(candidate: int, words: tuple[str, ...], *, first: bool) -> Iterator[tuple[tuple[str, ...], _Entry]]:
    yield words, _Entry(candidate, words, first)
    if len(words) == 2:
        yield ("".join(words),), _Entry(candidate, None, first)


def _settled(entries: Sequence[_Entry], said: tuple[str, ...]) -> frozenset[int]:
    """Return the candidates that the words `said` name: those spelled like that, and of them those by first name."""
    spelled = [one for one in entries if one.words == said] or list(entries)
    return frozenset(one.candidate for one in [one for one in spelled if one.first] or spelled)


class _Option(NamedTuple):
    """An option that an answer refers to by its mark, the word at `start`."""

    candidate: int
    start: int
    declared: bool

    @property
    def span(self) -> Span:
        return self.start, self.start + 1


def _options(marks: Iterable[Mark], words: Sequence[Word], mentions: Iterable[_Mention]) -> list[_Option]:
    """Return the options that are referred to by marks which are not inside of a name, as in "vitamin C"."""
    word_at = {word.place: i for i, word in reversed(list(enumerate(words)))}
    inside = {i for one in mentions for i in range(one.start + 1, one.end)}
    found = [_Option(mark.option, word_at[mark.place], mark.declared) for mark in marks if mark.place in word_at]
    return [one for one in found if one.start not in inside]


def _of_letters(letters: Sequence[_Option], texts: Sequence[str], named: Iterable[_Mention]) -> Reading:
    """Return the option that is declared, or the only one; a name right after it must not be that of another one."""
    decisive = [one for one in letters if one.declared] or letters
    names_at = {one.start: one.candidates for one in named}
    found = {one.candidate for one in decisive}
    for one in decisive:
        after = next((i for i in range(one.start + 1, len(texts)) if texts[i] not in ARTICLES), len(texts))
        found |= names_at.get(after, frozenset())
    return _of_candidates(frozenset(found), "letter")


def _of_candidates(candidates: frozenset[int], reason: Reason) -> Reading:
    return Reading(next(iter(candidates)), reason) if len(candidates) == 1 else Reading(None, "several")
