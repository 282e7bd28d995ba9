from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_clip_robust.errors import ConfigError, DataError
from pytest_clip_robust.system.files import read_json, read_text, write_whole


def test_a_file_is_written_to_a_new_folder_and_replaced(tmp_path):
    path = tmp_path / "new" / "file.json"
    for content in (b"one", b"two"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_whole(path, b"old")

    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_read_without_a_byte_order_mark(tmp_path):
    (tmp_path / "list.txt").write_bytes("\ufeffépée\n".encode())
    assert read_text(tmp_path / "list.txt", "photos") == "épée\n"


def make_fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "prompts: no file {path}"),
        (make_fifo, "prompts: {path} is a pipe or a device; expected a file"),
        (lambda path: path.symlink_to("/dev/zero"), "prompts: {path} is a pipe or a device; expected a file"),
        (lambda path: path.mkdir(), "prompts: {path} is a folder; expected a file"),
        (lambda path: path.symlink_to(path.parent / "absent"), "prompts: no file {path}"),
        (lambda path: path.write_bytes(b"caf\xe9"), "prompts: {path} cannot be read: 'utf-8' codec can't decode byte"),
    ],
)
def test_what_is_not_a_text_file_is_refused_in_one_line_and_never_waited_for(tmp_path, make, complaint):
    path = tmp_path / "prompts.txt"
    make(path)
    with pytest.raises(ConfigError) as error:
        read_text(path, "prompts", error=ConfigError)
    assert str(error.value).startswith(complaint.format(path=path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("1" * 5000, "expected JSON"),
        ("{}", "holds a dict; expected a list"),
        ("null", "holds a NoneType; expected a list"),
    ],
)
def test_what_is_not_the_expected_json_is_refused_in_one_line(tmp_path, content, complaint):
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(DataError, match=complaint) as error:
        read_json(path, list, "captions")
    assert str(error.value).startswith(f"captions: {path}")
    assert len(str(error.value).splitlines()) == 1


def test_a_name_with_control_characters_is_escaped(tmp_path):
    with pytest.raises(DataError, match=r"no file .*\\x1b\[2J"):
        read_text(Path(tmp_path, "\x1b[2J"), "photos")
