from __future__ import annotations

import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.prompts.templates import BUILT_IN, PromptSet, prompt_set


@pytest.mark.parametrize(
    ("name", "size"), [("name", 1), ("photo", 1), ("basic-3", 3), ("simple-7", 7), ("openai-80", 80), ("showroom", 5)]
)
def test_the_built_in_sets_have_their_sizes(name, size):
    assert len(prompt_set(name).templates) == size


def test_the_published_sets_equal_those_of_open_clip():
    for name, published in (
        ("simple-7", open_clip.SIMPLE_IMAGENET_TEMPLATES),
        ("openai-80", open_clip.OPENAI_IMAGENET_TEMPLATES),
    ):
        assert prompt_set(name).texts(["hot dog"]) == [template("hot dog") for template in published]


def test_digests_depend_only_on_the_templates():
    assert len({prompt_set(name).digest for name in BUILT_IN}) == len(BUILT_IN)
    assert PromptSet("a", ("{}",)).digest == PromptSet("b", ("{}",)).digest
    assert PromptSet("a", ("{}", "a {}")).digest != PromptSet("a", ("a {}", "{}")).digest


def test_a_file_has_one_template_per_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# my templates\na photo of a {}.\n\n  a sketch of a {}.  \n")
    assert prompt_set(str(path)) == PromptSet("mine", ("a photo of a {}.", "a sketch of a {}."))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("simple7", r"no prompt set 'simple7' \(did you mean 'simple-7'\?\)"),
        ((), "has no templates"),
        (("a photo",), "template 'a photo' has 0 places"),
        (("{} and {}",), "has 2 places"),
    ],
)
def test_a_wrong_set_is_one_line(source, message):
    with pytest.raises(ConfigError, match=message):
        prompt_set(source)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        prompt_set(str(tmp_path / "bad.txt"))
    with pytest.raises(ConfigError, match="no file"):
        prompt_set(str(tmp_path))


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_are_in_the_order_of_classes_for_any_names(names):
    texts = PromptSet("two", ("{}", "a {}.")).texts(names)
    assert texts == [text for name in names for text in (name, f"a {name}.")]
