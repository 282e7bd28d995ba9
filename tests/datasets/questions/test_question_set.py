"""What a set of questions is, its parts, and the questions that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.questions.question_set import Question, checked_options, folded, question_set
from pytest_clip_robust.errors import DataError


def pictures(count=2):
    return ImageSet(
        name="set",
        read=lambda index: bytes([index]),
        samples=[f"{i}.png" for i in range(count)],
        digests=[f"{i:064x}" for i in range(count)],
        labels=np.zeros(count, np.int64),
        class_names=("set",),
        class_ids=("set",),
        fingerprint=f"{count:064x}",
    )


def question(image=0, options=("cat", "dog"), truth=0, kind="", text="What is it?"):
    return Question(image=image, text=text, options=options, truth=truth, kind=kind)


def test_questions_keep_their_order_and_that_of_their_options():
    asked = [question(1, ("dog", "hot dog"), 1, "food"), question(0, ("cat", "dog", "bird"), 2), question(1, truth=1)]
    found = question_set(pictures(), asked)
    assert (found.name, len(found), len(found.images)) == ("set", 3, 2)
    assert found.image_of.tolist() == [1, 0, 1]
    assert found.image_of.dtype == found.truths.dtype == np.int64
    assert list(found.options) == [("dog", "hot dog"), ("cat", "dog", "bird"), ("cat", "dog")]
    assert found.truths.tolist() == [1, 2, 1]
    assert list(found.texts) == ["What is it?"] * 3
    assert list(found.kinds) == ["food", "", ""]
    assert found.kind_names == ("food",)
    assert found.samples == ["1.png#food0", "0.png#0", "1.png#0"]


def test_a_part_has_the_questions_of_one_kind_and_only_their_images():
    asked = [question(0, kind="a"), question(2, ("x", "y"), 1, "b"), question(1, kind="a"), question(2, kind="b")]
    found = question_set(pictures(3), asked, synonyms={"x": ("ex",), "cat": ("kitten",)})
    assert found.kind_names == ("a", "b")
    part = found.part("b")
    assert list(part.images.samples) == ["2.png"]
    assert part.images.read(0) == bytes([2])
    assert part.image_of.tolist() == [0, 0]
    assert list(part.options) == [("x", "y"), ("cat", "dog")]
    assert part.truths.tolist() == [1, 0]
    assert part.synonyms == {"x": ("ex",), "cat": ("kitten",)}
    assert found.part("a").synonyms == {"cat": ("kitten",)}
    assert part.kind_names == ("b",)
    assert part.part("b") is part
    with pytest.raises(
        DataError, match=r"data set 'set': no question of kind 'colour' \(did you mean 'colours'\?\); it"
    ):
        question_set(pictures(1), [question(kind="colours")]).part("colour")
    with pytest.raises(DataError, match="no question of kind 'a'; it has no kinds"):
        question_set(pictures(1), [question()]).part("a")


@given(
    st.lists(
        st.builds(question, st.integers(0, 3), truth=st.integers(0, 1), kind=st.sampled_from(["", "a", "b"])),
        min_size=1,
    )
)
def test_the_parts_together_are_the_questions_with_a_kind(asked):
    used = sorted({one.image for one in asked})
    asked = [replace(one, image=used.index(one.image)) for one in asked]
    found = question_set(pictures(len(used)), asked)
    parts = [found.part(kind) for kind in found.kind_names]
    assert sum(map(len, parts)) == sum(bool(kind) for kind in found.kinds)
    for part in parts:
        told = [(part.images.digests[image], truth) for image, truth in zip(part.image_of, part.truths, strict=True)]
        (kind,) = set(part.kinds)
        assert told == [(found.images.digests[one.image], one.truth) for one in asked if one.kind == kind]


def test_everything_that_is_asked_is_in_the_fingerprint():
    first = question()

    def fingerprint(images=None, synonyms=None, **change):
        asked = [first, replace(first, **{"truth": 1} | change)]
        return question_set(images or pictures(1), asked, synonyms=synonyms).fingerprint

    changes = [
        {},
        {"text": "Which?"},
        {"options": ("cat", "bird")},
        {"options": ("dog", "cat")},
        {"truth": 0},
        {"kind": "a"},
        {"synonyms": {"cat": ("kitten",)}},
        {"images": replace(pictures(1), fingerprint="0")},
    ]
    assert len({fingerprint(**change) for change in changes}) == len(changes)
    assert fingerprint(synonyms={"not an option": ("x",)}) == fingerprint()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], r"it has no question; a set of questions needs at least one"),
        ([question(truth=2)], r"question 0: truth 2; expected the place of an option, from 0 to 1"),
        ([question(), question(truth=-1)], r"question 1: truth -1; expected the place of an option, from 0 to 1"),
        ([question(options=("cat",))], r"question 0: 1 options, \['cat'\]; expected at least two"),
        ([question(options=("cat", " "))], r"question 0: option 1 is ' '; expected a text that is not empty"),
        ([question(image=1)], r"question 0 is about image 1; it has 0 to 0"),
        ([question(image=-1)], r"question 0 is about image -1; it has 0 to 0"),
        (
            [question(options=("hot dog", "cat", "Hot  DOG "))],
            r"question 0: options 0 and 2, 'hot dog' and 'Hot  DOG ', differ only in case and white space; rename one",
        ),
    ],
)
def test_a_question_that_cannot_be_asked_is_one_line(asked, message):
    with pytest.raises(DataError, match=f"^data set 'set': {message}") as caught:
        question_set(pictures(1), asked)
    assert "\n" not in str(caught.value)


def test_every_image_has_a_question_and_every_question_all_columns():
    with pytest.raises(DataError, match=r"no question is about image '1\.png'; leave it out"):
        question_set(pictures(2), [question()])
    with pytest.raises(
        DataError, match="1, 1, 1, 1, 2 images, texts, options, truths and kinds; expected one each per"
    ):
        replace(question_set(pictures(1), [question()]), kinds=["a", "b"])


def test_options_can_contain_each_other_and_stay_as_written():
    assert checked_options(["dog", "hot dog", "Dog-rose", "do"], "x") == ("dog", "hot dog", "Dog-rose", "do")
    assert checked_options([" cafe\u0301 ", "tea"], "x") == ("caf\u00e9", "tea")
    with pytest.raises(DataError, match=r"^x: options 0 and 1, 'caf\u00e9' and 'cafe\u0301', differ"):
        checked_options(["caf\u00e9", "cafe\u0301"], "x")
    for wrong in ("cat, dog", None, 3, {"cat": "dog"}):
        with pytest.raises(DataError, match=r'^x: options .*; expected a list, such as \["cat", "dog"\]'):
            checked_options(wrong, "x")
    for wrong in (None, 2, float("nan"), ""):
        with pytest.raises(DataError, match=r"^x: option 1 is .*; expected a text that is not empty"):
            checked_options(["cat", wrong], "x")


@given(st.lists(st.text(max_size=4), max_size=4))
def test_options_that_are_accepted_can_be_told_apart(options):
    if len(options) < 2 or not all(map(str.strip, options)) or len(set(map(folded, options))) < len(options):
        with pytest.raises(DataError, match=r"^x: .*\Z"):
            checked_options(options, "x")
        return
    kept = checked_options(options, "x")
    assert list(map(folded, kept)) == list(map(folded, options))
    assert len(set(map(folded, kept))) == len(kept) == len(options) > 1
