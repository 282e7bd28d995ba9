"""Published rules for the meaning of a free-text answer, to compare with published numbers; each with its flaws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_clip_robust.scoring.named_answers import Reading

LONGER_FIRST = frozenset({("pen", "can opener"), ("plate", "drying rack for plates")})
"""The pairs of ImageNet-D whose shorter name is part of the longer one; both found then means the longer one."""

NO_SYNONYMS: Mapping[str, Sequence[str]] = {}


def imagenet_d_reading(
    answer: str, names: tuple[str, str], *, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS
) -> Reading:
    """Read an answer to a choice between two names as ImageNet-D does (Zhang et al. 2024).

    A candidate is named if its name, or a synonym, is a substring of the answer in lower case. The published table of
    synonyms is passed as `synonyms`, by name. Both named are ``several``, neither is ``none``, and the protocol drops
    these samples. Flaws: "not a pen" names the pen, and so does "opened"; a model that hedges loses the hard samples
    from its denominator.

    >>> imagenet_d_reading("It is not a Pen.", ("pen", "plate")).position
    0
    >>> imagenet_d_reading("a can opener", ("pen", "can opener")).position
    1
    """
    said = answer.lower()
    found = [i for i, name in enumerate(names) if any(one in said for one in (name, *synonyms.get(name, ())))]
    if len(found) == 2 and LONGER_FIRST & {names, names[::-1]}:
        found = [max((0, 1), key=lambda i: len(names[i]))]
    if len(found) == 1:
        return Reading(found[0], "named")
    return Reading(None, "several" if found else "none")


def contains_label(answer: str, label: str) -> bool:
    """Return whether an answer is correct by the rule of VLMClassifier (Zhang et al. 2024): it contains the label.

    Both are compared in lower case. Flaws: other names in the answer do not matter, so that to list all candidates is
    always correct; "not a cat" and "catalogue" contain "cat"; synonyms and plurals with other spellings are wrong.

    >>> contains_label("Not a CAT", "cat"), contains_label("kitten", "cat")
    (True, False)
    """
    return label.lower() in answer.lower()


def first_letter_reading(answer: str, marks: Sequence[str]) -> Reading:
    """Read an answer by its first letter of either case, as FOCI does (Geigle et al. 2024).

    Flaws: "Ashtray" and "A cat" are read as option A, which favours the first place; "The answer is B" is no answer,
    and neither is " B", with a space before it.

    >>> first_letter_reading("Ashtray", "ABCD"), first_letter_reading("The answer is B", "ABCD")
    (Reading(position=0, reason='letter'), Reading(position=None, reason='none'))
    """
    for option, mark in enumerate(marks):
        if answer.lower().startswith(mark.lower()):
            return Reading(option, "letter")
    return Reading(None, "none" if answer.strip() else "empty")
