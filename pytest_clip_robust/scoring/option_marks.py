"""Letters and numbers of options in free text: "(B)", "B.", "Answer: C", "option 2", but not the A of "Ashtray".

A lone "a" is an article unless its surroundings say otherwise, and the same rules hold for every other letter: a reader
that knew B better than A would create a position bias of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pytest_clip_robust.scoring.words import fold


class Mark(NamedTuple):
    """The mark of one option in a folded text.

    place: its first character. option: its position among the marks. declared: whether it follows "answer" or a verb of
    choice, and so counts more than options that are only mentioned.
    """

    place: int
    option: int
    declared: bool


def marks_of(folded: str, marks: Sequence[str]) -> list[Mark]:
    """Return the options that a folded text refers to by their `marks`, such as ("A", "B", "C") or ("1", "2").

    >>> [(mark.option, mark.declared) for mark in marks_of(fold("Neither (A) nor B) fits. Answer: C"), "ABC")]
    [(0, False), (1, False), (2, True)]
    >>> marks_of(fold("Ashtray"), "ABC") + marks_of(fold("A dog and a cat"), "ABC")
    []
    """
    known = {fold(mark): option for option, mark in enumerate(marks)}
    found: dict[int, Mark] = {}
    for pattern, declared in _patterns(tuple(sorted(known, key=lambda mark: (-len(mark), mark)))):
        for match in pattern.finditer(folded):
            for group, mark in enumerate(match.groups(), start=1):
                if mark is not None:
                    place = match.start(group)
                    found[place] = Mark(place, known[mark], declared)
    return [found[place] for place in sorted(found)]


@lru_cache(maxsize=256)
def _patterns(marks: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], bool], ...]:
    mark = f"(?<!\\w)({'|'.join(map(re.escape, marks))})"
    alone = r"(?!['-]?\w)(?![^\S\n]+(?!(?:because|since|as|is|and|or|nor|but|so)\b)\w)"
    link = r"(?:(?:is|was|would be|should be|must be)\b\W*)?(?:(?:option|choice|letter|caption|number)\b\W*)?"
    # What declares comes last, since it counts more than the other patterns that find the same mark.
    texts = (
        (rf"[(\[]\s*{mark}\s*[)\]]|(?<![(\[]){mark}\)", False),
        (rf"\A\W*{mark}(?=[^\w\n]*(?:\Z|\n)|[*_\"']*\s*[.:,;][*_\"']*(?:\s|\Z)|\s+[-\u2013\u2014]\s)", False),
        (rf"\b(?:option|choice|letter|caption)\b\W*(?:is\b\W*)?{mark}{alone}", False),
        (rf"\b(?:is|be|with)\W+{mark}(?=\s*[.!])", False),
        (rf"{mark}\W+(?:and|or|nor)\W+{mark}{alone}", False),
        (rf"\b(?:answer|boxed|choose|select|pick|prefer)\b\W*{link}{mark}{alone}", True),
    )
    return tuple((re.compile(text), declared) for text, declared in texts)
