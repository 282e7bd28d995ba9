"""Words of free text, so that two spellings of one name can be compared: case, accents, punctuation, plurals.

Made for English; other languages match where names are spelled as in the answer. Chinese and Japanese characters are
one word each, since those languages put no spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

ARTICLES = frozenset({"a", "an", "the"})
SMALLEST_NOUN = 3
NO_PLURALS = frozenset({"lens", "news"})
"""Words that would be taken for plurals of other words."""

IRREGULAR = {
    "cactus": "cacti",
    "child": "children",
    "die": "dice",
    "foot": "feet",
    "fungus": "fungi",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "tooth": "teeth",
}
"""Plurals that no rule gives; those in "-men" have a rule."""

_SINGULARS = {many: one for one, many in IRREGULAR.items()}
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc`\u00b4"), "'")
_NOT_A_LETTER = dict.fromkeys([*range(0x300, 0x370), 0xAD, 0x200B, 0xFEFF])
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+(?:'[^\W_{_ALONE}]+)*")
_PAUSE = re.compile(r"[.,;:!?\n。、]")
_NOT = re.compile(r"(.+)n't|(is|are|was|were|do|does|did|have|has|would|could)nt|(can)not")


class Word(NamedTuple):
    """One word of a text: folded, with the place of its first character in the folded text.

    `pause`: whether it begins the text, or a punctuation mark or a line break comes before it.
    """

    text: str
    place: int
    pause: bool


def fold(text: str) -> str:
    r"""Return `text` without differences of case, accents, typographic quotes and compatible characters.

    >>> fold("Caf\u00e9 \u2018B\u2019")
    "cafe 'b'"
    """
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).casefold())
    return unicodedata.normalize("NFC", apart.translate(_NOT_A_LETTER))


def words_of(folded: str) -> list[Word]:
    """Return the words of a folded text; "isn't" and "cannot" are two words, and the 's of a genitive is left out.

    >>> [word.text for word in words_of(fold("It ISN'T the dog's jack-o'-lantern."))]
    ['it', 'is', 'not', 'the', 'dog', 'jack', 'o', 'lantern']
    """
    # Vowel signs of Indic scripts are part of a word, which the word class of `re` does not know.
    same = folded if folded.isascii() else "".join("x" if unicodedata.category(c)[0] == "M" else c for c in folded)
    found: list[Word] = []
    last = 0
    for match in _WORD.finditer(same):
        start, end = match.span()
        pause = not found or _PAUSE.search(folded, last, start) is not None
        for i, part in enumerate(_parts(folded[start:end])):
            found.append(Word(part, start, pause and i == 0))
        last = end
    return found


def _parts(word: str) -> list[str]:
    if negated := _NOT.fullmatch(word):
        verb = next(filter(None, negated.groups()))
        return [{"ca": "can", "wo": "will"}.get(verb, verb), "not"]
    return [part for i, part in enumerate(word.split("'")) if part != "s" or i == 0]


@lru_cache(maxsize=4096)
def forms(word: str) -> frozenset[str]:
    """Return a folded word with its possible plurals and singulars.

    >>> sorted(forms("knives"))
    ['knif', 'knife', 'knive', 'knives', 'kniveses']
    """
    guesses = {word[:-1], word[:-2], f"{word[:-3]}y", f"{word[:-3]}f", f"{word[:-3]}fe", f"{word[:-2]}an"}
    guesses |= {_SINGULARS.get(word, "")}
    return frozenset({word} | _plurals(word) | {one for one in guesses if word in _plurals(one)})


def _plurals(word: str) -> set[str]:
    if not word.isalpha() or len(word) < SMALLEST_NOUN:
        return {IRREGULAR[word]} if word in IRREGULAR else set()
    found = {f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"}
    if word in IRREGULAR:
        found.add(IRREGULAR[word])
    if word.endswith("o"):
        found.add(f"{word}es")
    if word.endswith("y") and word[-2] not in "aeiou":
        found = {f"{word[:-1]}ies"}
    if word.endswith("f"):
        found.add(f"{word[:-1]}ves")
    if word.endswith("fe"):
        found.add(f"{word[:-2]}ves")
    if word.endswith("man"):
        found.add(f"{word[:-2]}en")
    return found - NO_PLURALS
