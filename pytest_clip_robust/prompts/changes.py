"""Changes of prompts that should not change an answer: other words, casing, articles, plurals, synonyms.

The rules are those of English. Where a change would leave every prompt as it is, nothing can be measured with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pytest_clip_robust.prompts.templates import PLACE, PromptSet

Names = tuple[tuple[str, ...], ...]
"""All names of each of C classes."""


class Prompts(NamedTuple):
    """The names of C classes, and the templates that they are put into."""

    names: Names
    templates: PromptSet


SAME_MEANING = {
    "photo": "picture",
    "photograph": "picture",
    "picture": "photo",
    "image": "photo",
    "rendering": "rendered image",
    "itap": "i took a picture",
    "good": "nice",
    "bad": "poor",
    "large": "big",
    "small": "little",
    "many": "several",
}
"""Words of common templates, each with one of the same meaning."""

ARTICLE = re.compile(rf"\b(a|an|the) (?={re.escape(PLACE)})", re.IGNORECASE)
INDEFINITE = re.compile(rf"\b(a|an) (?={re.escape(PLACE)})", re.IGNORECASE)
IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "knife": "knives",
    "wolf": "wolves",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "calf": "calves",
    "ox": "oxen",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
}
SIBILANTS = ("s", "x", "z", "ch", "sh")


def changed_prompts(change: str, prompts: Prompts) -> Prompts | None:
    """Return prompts after a change of `names.TEXT_CHANGES`, or None if it changes none of them.

    ``class_order`` reverses the order of the classes, with all their names; the caller maps the answers back.

    Raises:
        KeyError: there is no such change.
    """
    found = CHANGES[change](prompts)
    return None if found == prompts else found


def plural(name: str) -> str:
    """Return the plural of an English noun; of several words, of the last one, or of the one before "of".

    >>> plural("potted plant"), plural("cup of tea"), plural("bench"), plural("baby")
    ('potted plants', 'cups of tea', 'benches', 'babies')
    """
    head, of, rest = name.partition(" of ")
    before, space, word = head.rpartition(" ")
    return f"{before}{space}{_plural_of_word(word)}{of}{rest}"


def _plural_of_word(word: str) -> str:
    irregular = IRREGULAR.get(word.lower())
    if irregular is not None:
        return irregular.capitalize() if word[:1].isupper() else irregular
    if word.lower().endswith(SIBILANTS):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word, re.IGNORECASE):
        return f"{word[:-1]}ies"
    return f"{word}s"


def _paraphrase(prompts: Prompts) -> Prompts:
    def other(word: re.Match[str]) -> str:
        return SAME_MEANING.get(word[0].lower(), word[0])

    return prompts._replace(templates=_each(prompts.templates, lambda template: re.sub(r"\w+", other, template)))


def _case(letters: Callable[[str], str]) -> Callable[[Prompts], Prompts]:
    def change(prompts: Prompts) -> Prompts:
        names = tuple(tuple(letters(name) for name in of_class) for of_class in prompts.names)
        return Prompts(names, _each(prompts.templates, letters))

    return change


def _no_article(prompts: Prompts) -> Prompts:
    return prompts._replace(templates=_each(prompts.templates, lambda template: ARTICLE.sub("", template)))


def _plural(prompts: Prompts) -> Prompts:
    names = tuple(tuple(plural(name) for name in of_class) for of_class in prompts.names)
    return Prompts(names, _each(prompts.templates, lambda template: INDEFINITE.sub("", template)))


def _synonym(prompts: Prompts) -> Prompts:
    """Use the other names of a class in place of its first one."""
    return prompts._replace(names=tuple(of_class[1:] or of_class for of_class in prompts.names))


def _class_order(prompts: Prompts) -> Prompts:
    return prompts._replace(names=prompts.names[::-1])


CHANGES: Mapping[str, Callable[[Prompts], Prompts]] = {
    "paraphrase": _paraphrase,
    "lower_case": _case(str.lower),
    "upper_case": _case(str.upper),
    "no_article": _no_article,
    "plural": _plural,
    "synonym": _synonym,
    "class_order": _class_order,
}


def _each(templates: PromptSet, change: Callable[[str], str]) -> PromptSet:
    return PromptSet(templates.name, tuple(change(template) for template in templates.templates))
