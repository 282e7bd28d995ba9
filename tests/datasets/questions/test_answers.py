"""One reading for a whole column of answers: texts, letters or places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.questions.answers import Asked, read_answers
from pytest_clip_robust.errors import DataError

OPTIONS = ("cat", "hot dog", "bird")


def read(*answers, options=OPTIONS):
    return read_answers([Asked(answer, options, f"row {i}") for i, answer in enumerate(answers)], "set")


@pytest.mark.parametrize(
    ("answers", "places"),
    [
        (("bird", "Hot  dog", " cat "), [2, 1, 0]),
        (("A", "c", "(B)", "B.", "a)"), [0, 2, 1, 1, 0]),
        ((0, 2, 1), [0, 2, 1]),
        ((0.0, 2.0), [0, 2]),
        (("0", "2", "1.0"), [0, 2, 1]),
        ((0, "2"), [0, 2]),
    ],
)
def test_an_answer_is_a_text_a_letter_or_a_place(answers, places):
    assert read(*answers) == (places, ())


def test_a_text_that_is_an_option_is_that_option():
    places, remarks = read("B", "A", options=("B", "A"))
    assert places == [0, 1]
    assert remarks == (
        "data set 'set': its answers, such as 'B', are read as texts of options; as letters they would mean others",
    )
    assert read("1", "2", options=("1", "2", "3"))[0] == [0, 1]
    assert read("0", "1", options=("0", "1", "2")) == ([0, 1], ())


def test_places_of_options_that_are_numbers_are_not_read_as_texts_in_some_rows():
    """With a reading per row, "0" would be the place of "1", and "1" the text of "1"."""
    assert read("0", "1", "2", options=("1", "2", "3"))[0] == [0, 1, 2]


def test_places_that_seem_to_count_from_one_are_remarked():
    _, remarks = read(1, 2, 1)
    (remark,) = remarks
    assert remark.startswith("data set 'set': its answers are the places 1 to 2, and 0 means the first option: if they")
    assert read(1, 0)[1] == read(1, 1)[1] == read("b", "c")[1] == ()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            ("cat", "mouse"),
            r"row 1: answer 'mouse' is neither one of the options, \['cat', 'hot dog', 'bird'\], nor a letter from A",
        ),
        ((0, 3), "row 1: answer 3 is neither"),
        ((-1,), "row 0: answer -1 is neither"),
        ((1.5,), r"row 0: answer 1\.5 is neither"),
        ((float("nan"),), "row 0: answer nan is neither"),
        ((float("inf"),), "row 0: answer inf is neither"),
        ((True,), "row 0: answer True is neither"),
        (("D",), "row 0: answer 'D' is neither"),
        (([1],), r"row 0: answer \[1\] is neither"),
        (("cat", None), "row 1: it has no answer; write the text of the true option"),
        (("",), "row 0: it has no answer"),
        (
            ("cat", "bird", "A"),
            "row 2: answer 'A' is not among the texts of its options, but other answers are; write all of them in one",
        ),
        ((0, "A", 2), "row 1: answer 'A' is not among the places of its options"),
    ],
)
def test_what_is_not_an_answer_is_one_line(answers, message):
    with pytest.raises(DataError, match=f"^{message}") as caught:
        read(*answers)
    assert "\n" not in str(caught.value)


def test_many_options_have_no_letters():
    options = tuple(f"class {i}" for i in range(30))
    assert read(29, options=options) == ([29], ())
    with pytest.raises(DataError, match="nor a letter, nor a place from 0 to 29"):
        read("x", options=options)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.sampled_from(["text", "letter", "place", "number"]))
def test_all_forms_mean_the_same(places, form):
    told = {"text": OPTIONS.__getitem__, "letter": "ABC".__getitem__, "place": str, "number": int}[form]
    assert read(*map(told, places))[0] == places
