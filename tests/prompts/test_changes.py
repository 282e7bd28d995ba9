"""Changes of prompts that should not change an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.names import TEXT_CHANGES
from pytest_clip_robust.prompts.changes import CHANGES, Prompts, changed_prompts, plural
from pytest_clip_robust.prompts.templates import PromptSet, prompt_set

PROMPTS = Prompts((("cat", "house cat"), ("Potted plant",)), PromptSet("two", ("a photo of a {}.", "The {}!")))
WORDS = st.text("abcdefghyzsxAB ", min_size=1, max_size=12).filter(str.strip)


def texts(prompts):
    return prompts.templates.texts([name for of_class in prompts.names for name in of_class])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("paraphrase", ["a picture of a cat.", "The cat!"]),
        ("lower_case", ["a photo of a cat.", "the cat!"]),
        ("upper_case", ["A PHOTO OF A CAT.", "THE CAT!"]),
        ("no_article", ["a photo of cat.", "cat!"]),
        ("plural", ["a photo of cats.", "The cats!"]),
        ("synonym", ["a photo of a house cat.", "The house cat!"]),
    ],
)
def test_the_first_prompts_after_a_change(change, expected):
    assert texts(changed_prompts(change, PROMPTS))[:2] == expected


def test_the_order_of_classes_is_reversed_with_all_their_names():
    found = changed_prompts("class_order", PROMPTS)
    assert found.names == (("Potted plant",), ("cat", "house cat"))
    assert found.templates == PROMPTS.templates


def test_a_class_with_one_name_keeps_it():
    assert changed_prompts("synonym", PROMPTS).names == (("house cat",), ("Potted plant",))


@pytest.mark.parametrize(
    ("change", "prompts"),
    [
        ("synonym", Prompts((("cat",), ("dog",)), PROMPTS.templates)),
        ("no_article", Prompts(PROMPTS.names, PromptSet("name", ("{}", "one of many photos: {}")))),
        ("lower_case", Prompts((("cat",),), PromptSet("name", ("{}",)))),
        ("paraphrase", Prompts(PROMPTS.names, PromptSet("name", ("ein Bild von {}",)))),
        ("class_order", Prompts((("cat",),), PROMPTS.templates)),
    ],
)
def test_a_change_that_changes_nothing_is_none(change, prompts):
    assert changed_prompts(change, prompts) is None


def test_every_named_change_exists():
    assert tuple(CHANGES) == TEXT_CHANGES


@given(st.sampled_from(TEXT_CHANGES), st.lists(st.lists(WORDS, min_size=1, max_size=2), min_size=1, max_size=4))
def test_classes_stay_as_many_and_none_is_empty(change, names):
    prompts = Prompts(tuple(map(tuple, names)), PROMPTS.templates)
    found = changed_prompts(change, prompts) or prompts
    assert len(found.names) == len(names)
    assert all(text.strip() for text in texts(found))


@pytest.mark.parametrize("name", ["simple-7", "openai-80", "showroom", "basic-3"])
def test_the_built_in_sets_have_paraphrases_that_keep_the_place_of_the_name(name):
    prompts = Prompts((("cat",),), prompt_set(name))
    found = changed_prompts("paraphrase", prompts)
    changed = [one != two for one, two in zip(found.templates.templates, prompts.templates.templates, strict=True)]
    assert sum(changed) >= len(changed) / 3


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("chair", "chairs"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("bench", "benches"),
        ("brush", "brushes"),
        ("baby", "babies"),
        ("toy", "toys"),
        ("Person", "People"),
        ("sheep", "sheep"),
        ("great white shark", "great white sharks"),
        ("bottle of wine", "bottles of wine"),
        ("bow tie", "bow ties"),
    ],
)
def test_plurals(one, several):
    assert plural(one) == several
