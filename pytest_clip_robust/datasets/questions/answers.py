"""The meaning of a column of answers: texts of options, letters, or places.

One reading is used for the whole set. With a reading per row, places of options that are numbers themselves would be
read as texts in some rows and as places in others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from pytest_clip_robust.datasets.questions.question_set import folded
from pytest_clip_robust.errors import DataError, shown

_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
_NUMBER = re.compile(r"\d{1,9}(\.0+)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to a question as the file has it, the options, and the place in the file for messages."""

    answer: Any
    options: tuple[str, ...]
    where: str


def read_answers(asked: Sequence[Asked], name: str) -> tuple[list[int], tuple[str, ...]]:
    """Return the place of the true option of every question, and lines for the user; `name` is that of the set.

    Answers are the texts of options if all of them can be; else letters from A; else places, which count from 0.

    Raises:
        DataError: an answer is missing or is not one of the options, or answers are of several forms.
    """
    found = {form: [read(one) for one in asked] for form, read in FORMS.items()}
    fitting = {form: places for form, places in found.items() if None not in places}
    if not fitting:
        raise _unreadable(asked, found)
    form, places = next((form, [place for place in places if place is not None]) for form, places in fitting.items())
    remarks = []
    for other, others in fitting.items():
        differs = next((i for i, place in enumerate(others) if place != places[i]), None)
        if differs is not None:
            remarks.append(
                f"data set {name!r}: its answers, such as {shown(asked[differs].answer)}, are read as {form} of "
                f"options; as {other} they would mean others"
            )
    numbers = sorted(set(places))
    if form == PLACES and len(numbers) > 1 and numbers == list(range(1, len(numbers) + 1)):
        remarks.append(
            f"data set {name!r}: its answers are the places 1 to {numbers[-1]}, and 0 means the first option: if they "
            "count from 1, all are wrong"
        )
    return places, tuple(remarks)


def _unreadable(asked: Sequence[Asked], found: dict[str, list[int | None]]) -> DataError:
    """Return the error for the first answer without a meaning, or else for two answers of different forms."""
    for i, one in enumerate(asked):
        if one.answer is None or (isinstance(one.answer, str) and not one.answer.strip()):
            return DataError(f"{one.where}: it has no answer; write the text of the true option")
        if all(places[i] is None for places in found.values()):
            last = len(one.options) - 1
            letters = f"a letter from A to {ascii_uppercase[last]}" if last < len(ascii_uppercase) else "a letter"
            return DataError(
                f"{one.where}: answer {shown(one.answer)} is neither one of the options, {shown(list(one.options))}, "
                f"nor {letters}, nor a place from 0 to {last}"
            )
    form = max(found, key=lambda form: len(asked) - found[form].count(None))
    odd = asked[found[form].index(None)]
    return DataError(
        f"{odd.where}: answer {shown(odd.answer)} is not among the {form} of its options, but other answers are; write "
        "all of them in one form"
    )


def _by_text(asked: Asked) -> int | None:
    if not isinstance(asked.answer, str):
        return None
    options = [folded(option) for option in asked.options]
    answer = folded(asked.answer)
    return options.index(answer) if answer in options else None


def _by_letter(asked: Asked) -> int | None:
    if not isinstance(asked.answer, str) or len(asked.options) > len(ascii_uppercase):
        return None
    match = _LETTER.fullmatch(asked.answer.strip())
    return None if match is None else _within(ascii_uppercase.index(match[1].upper()), asked)


def _by_place(asked: Asked) -> int | None:
    answer = asked.answer
    if isinstance(answer, str) and _NUMBER.fullmatch(answer.strip()):
        answer = float(answer)
    if isinstance(answer, bool) or not isinstance(answer, int | float) or answer != answer // 1:
        return None
    return _within(int(answer), asked)


def _within(place: int, asked: Asked) -> int | None:
    return place if 0 <= place < len(asked.options) else None


PLACES = "places"
FORMS: dict[str, Callable[[Asked], int | None]] = {"texts": _by_text, "letters": _by_letter, PLACES: _by_place}
