from __future__ import annotations

import os

import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.prompts.corpus import corpus
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
    with pytest.raises(ConfigError, match="is a folder; expected a file"):
        prompt_set(str(tmp_path))


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_are_in_the_order_of_classes_for_any_names(names):
    texts = PromptSet("two", ("{}", "a {}.")).texts(names)
    assert texts == [text for name in names for text in (name, f"a {name}.")]


@pytest.mark.parametrize("read", [prompt_set, corpus])
def test_a_pipe_a_device_or_a_huge_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.txt")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(2**40)
    for path, message in (
        ("/dev/zero", "is a pipe or a device"),
        (tmp_path / "pipe.txt", "is a pipe or a device"),
        (tmp_path / "huge.txt", "has 1,048,576 MiB; expected a text file of at most 64 MiB"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            read(str(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [prompt_set, corpus])
@pytest.mark.parametrize("source", ["x" * 300, "a\0b", "~nobody-at-all/x.txt", ""])
def test_a_source_that_cannot_be_a_path_is_one_line(read, source):
    with pytest.raises(ConfigError) as error:
        read(source)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_carriage_returns_are_not_part_of_a_template(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbf# mine\r\na photo of a {}.\r\n\r\n")
    assert prompt_set(str(tmp_path / "mine.txt")).templates == ("a photo of a {}.",)
