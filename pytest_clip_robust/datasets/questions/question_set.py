"""Question sets: closed-set questions about images, each with its own options and one true answer."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.images.image_set import ImageSet, SetOfImages
from pytest_clip_robust.datasets.sources.rows import Rows
from pytest_clip_robust.errors import DataError, did_you_mean, shown
from pytest_clip_robust.system.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: the number of its image, its text without the options, its options, and the true one's place."""

    image: int
    text: str
    options: tuple[str, ...]
    truth: int
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRows:
    """Questions as the files have them, and the undecoded images that they are about; every image has a question.

    protocol: the published protocol of the set, such as ``"imagenet-d"``, or ``""``.
    """

    pictures: Rows
    questions: Sequence[Question]
    protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet(SetOfImages):
    """Q questions about N images, each with a closed list of options.

    images: the distinct images. image_of: (Q,) int64 positions in images; every image has a question.
    texts: Q questions without their options, or ``""`` where the file has only options.
    options: Q tuples of two or more names, in the order of the file. truths: (Q,) int64 place of the true one.
    kinds: Q names, or ``""``.
    synonyms: other names of an option, by the option as it is written; from the entry's list of classes.
    protocol: the published protocol of the set, such as ``"imagenet-d"``, or ``""``.
    fingerprint: hex digest of all of it; it identifies the set.

    Raises:
        DataError: there is no question, lengths differ, an image has no question, a question has no image, an option is
            empty or occurs twice, a question has fewer than two options, or a truth is not the place of an option.
    """

    images: ImageSet
    image_of: Ints
    texts: Sequence[str]
    options: Sequence[tuple[str, ...]]
    truths: Ints
    kinds: Sequence[str]
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protocol: str = ""
    fingerprint: str

    def __post_init__(self) -> None:
        where = f"data set {self.name!r}"
        if not len(self.texts):
            raise DataError(f"{where}: it has no question; a set of questions needs at least one")
        lengths = [len(column) for column in (self.image_of, self.texts, self.options, self.truths, self.kinds)]
        if len(set(lengths)) > 1:
            raise DataError(
                f"{where}: {', '.join(map(str, lengths))} images, texts, options, truths and kinds; expected one each "
                "per question"
            )
        outside = np.flatnonzero((self.image_of < 0) | (self.image_of >= len(self.images)))
        if len(outside):
            question = int(outside[0])
            raise DataError(
                f"{where}: question {question} is about image {self.image_of[question]}; it has 0 to "
                f"{len(self.images) - 1}"
            )
        unasked = np.setdiff1d(np.arange(len(self.images)), self.image_of)
        if len(unasked):
            sample = self.images.samples[int(unasked[0])]
            raise DataError(f"{where}: no question is about image {sample!r}; leave it out")
        for question, (options, truth) in enumerate(zip(self.options, self.truths.tolist(), strict=True)):
            which = f"{where}: question {question}"
            checked_options(options, which)
            if not 0 <= truth < len(options):
                raise DataError(
                    f"{which}: truth {truth}; expected the place of an option, from 0 to {len(options) - 1}"
                )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def kind_names(self) -> tuple[str, ...]:
        """The distinct kinds in order of first occurrence; () if no question has one."""
        return tuple(kind for kind in dict.fromkeys(self.kinds) if kind)

    @property
    def samples(self) -> list[str]:
        """Q names of questions, for people: the image, the kind, and a number per image and kind from 0."""
        numbers: Counter[tuple[int, str]] = Counter()
        names = []
        for image, kind in zip(self.image_of.tolist(), self.kinds, strict=True):
            names.append(f"{self.images.samples[image]}#{kind}{numbers[image, kind]}")
            numbers[image, kind] += 1
        return names

    def part(self, kind: str) -> QuestionSet:
        """Return the questions of one kind, with the images that they are about.

        Raises:
            DataError: no question is of that kind.
        """
        kept = [question for question, other in enumerate(self.kinds) if other == kind]
        if not kept:
            known = ", ".join(map(printable, self.kind_names)) or "no kinds"
            raise DataError(
                f"data set {self.name!r}: no question of kind {kind!r}{did_you_mean(kind, self.kind_names)}; "
                f"it has {known}"
            )
        if len(kept) == len(self):
            return self
        used, image_of = np.unique(self.image_of[kept], return_inverse=True)
        return question_set(
            self.images.take(used),
            [
                Question(
                    image=int(image), text=self.texts[i], options=self.options[i], truth=int(self.truths[i]), kind=kind
                )
                for i, image in zip(kept, image_of.tolist(), strict=True)
            ],
            synonyms=self.synonyms,
            protocol=self.protocol,
        )


def question_set(
    images: ImageSet,
    questions: Sequence[Question],
    *,
    synonyms: Mapping[str, tuple[str, ...]] | None = None,
    protocol: str = "",
) -> QuestionSet:
    """Return `questions` about `images` as a set; `synonyms` may have names that are not options.

    Raises:
        DataError: see `QuestionSet`.
    """
    of_options = {option for question in questions for option in question.options}
    others = {name: names for name, names in sorted((synonyms or {}).items()) if name in of_options}
    columns: dict[str, Any] = {
        "image_of": [question.image for question in questions],
        "texts": [question.text for question in questions],
        "options": [question.options for question in questions],
        "truths": [question.truth for question in questions],
        "kinds": [question.kind for question in questions],
    }
    fingerprint = digest({"images": images.fingerprint, **columns} | ({"synonyms": others} if others else {}))
    columns |= {name: np.array(columns[name], np.int64) for name in ("image_of", "truths")}
    return QuestionSet(images=images, **columns, synonyms=others, protocol=protocol, fingerprint=fingerprint)


def checked_options(options: Any, where: str) -> tuple[str, ...]:
    """Return a list of options in Unicode's composed form, without white space around them; `where` begins messages.

    One option can be part of another one: "dog" and "hot dog".

    Raises:
        DataError: it is not a list of two or more texts, one is empty, or two differ only in case and white space.
    """
    if not isinstance(options, list | tuple):
        raise DataError(f'{where}: options {shown(options)}; expected a list, such as ["cat", "dog"]')
    for place, option in enumerate(options):
        if not isinstance(option, str) or not option.strip():
            raise DataError(f"{where}: option {place} is {shown(option)}; expected a text that is not empty")
    if len(options) < 2:
        raise DataError(f"{where}: {len(options)} options, {shown(list(options))}; expected at least two")
    first: dict[str, int] = {}
    for place, option in enumerate(options):
        other = first.setdefault(folded(option), place)
        if other != place:
            raise DataError(
                f"{where}: options {other} and {place}, {shown(options[other])} and {shown(option)}, differ only in "
                "case and white space; rename one, or leave the question out"
            )
    return tuple(unicodedata.normalize("NFC", option).strip() for option in options)


def folded(text: str) -> str:
    r"""Return `text` without differences of case, white space and Unicode's forms of the same letters.

    >>> folded(" Hot\t DOG ")
    'hot dog'
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
