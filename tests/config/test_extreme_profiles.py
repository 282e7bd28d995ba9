"""Profiles that nobody would write: each is read, or refused in one line that names the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.config.profile import SECTIONS, load_profile, profile_from_content
from pytest_clip_robust.config.shipped import shipped_profiles
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.names import ROLES

LONGEST = 600


def load(path):
    """Return the message of the error, or "" if the profile is read; any other exception fails the test."""
    try:
        load_profile(str(path))
    except ClipRobustError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\x00",
        b"[roles",
        b"a = 1\na = 2",
        b"[data.x]\nlocation = '/a'\n[data.x]\nlocation = '/b'",
        b"[roles]\nid = " + b"[" * 100_000,
        b"x = " + b"{a = " * 50_000,
        b"[thresholds]\nm = { at_least = " + b"9" * 5000 + b" }",
        b"[thresholds]\nm = { at_least = 0x" + b"f" * 5000 + b" }",
        b"[thresholds]\nm = { at_least = nan }",
        b"[thresholds]\nm = { at_least = inf }",
        b"[thresholds]\nm = { at_least = 1979-05-27 }",
        b"[thresholds]\nm = { at_least = { at_least = { at_least = 1 } } }",
        b"[tolerances]\nm = -inf",
        b"[tolerances]\nm = { at_least = 1 }",
        b"[corruptions]\nimages = 0x" + b"f" * 5000,
        b"[corruptions]\nseed = 99999999999999999999999",
        b"[correspondence]\nsize = 1e300",
        b"[correspondence]\nangles = [0, nan, 90]",
        b"[prompts]\ntemplates = [" + b"'{}'," * 3 + b"3]",
        b"[prompts]\nfile = 7",
        b"[observers]\ncues = [[1]]",
        b"[panels]\ndark = ['a']",
        b"[data]\nx = []",
        b"[data.x]\ncrop_border = 0x" + b"f" * 5000,
        b"[data.x]\nlocation = 1979-05-27T07:32:00Z",
        b"[data.'a b']\nlocation = '/a'",
        b"[data.x]\nfactors = { pose = true }",
        b"name = 7",
        b"roles = []",
        b"[roles]\nid = ''",
        b"[roles]\nid = [['a']]",
        b"[roles.id.id]\nid = 'a'",
        b"[" + b"x" * 100_000 + b"]",
        b"[[data]]\nlocation = '/a'",
    ],
)
def test_an_extreme_profile_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    message = load(path)
    assert message
    assert message.isprintable()
    assert len(message) < LONGEST


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "name"])
def test_an_empty_section_is_as_good_as_none(tmp_path, section):
    path = tmp_path / "mine.toml"
    path.write_text(f"[{section}]\n")
    assert not load(path)


def test_a_folder_or_a_file_that_cannot_be_read_is_one_line(tmp_path):
    assert "no profile" in load(tmp_path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates()
keys = st.text(max_size=6) | st.sampled_from(
    ["id", "at_least", "at_most", "kinds", "images", "angles", "templates", "compare", "scores", "location", "classes"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
names = st.sampled_from([*SECTIONS, *ROLES]) | st.text(max_size=6)


@given(st.dictionaries(names, values | st.dictionaries(keys | names, values, max_size=3), max_size=4))
@settings(max_examples=300)
def test_any_content_is_read_or_refused_in_one_line(content):
    try:
        profile_from_content(content, Path("mine.toml"))
    except ClipRobustError as error:
        message = str(error)
    else:
        message = ""
    assert message.isprintable()
    assert len(message) < LONGEST


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, name):
    whole = shipped_profiles()[name].read_bytes()
    chance = random.Random(0)
    path = tmp_path / "mine.toml"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        message = load(path)
        assert message.isprintable()
        assert len(message) < LONGEST
