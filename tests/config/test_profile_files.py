"""A path that a profile names and that does not exist is found before anything is encoded."""

from __future__ import annotations

import pytest

from pytest_clip_robust.config.checking import check_profile
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.errors import ClipRobustError

GOOD = """
[roles]
id = "photos"
cue_conflict = "cues"
[data.photos]
location = "photos"
classes = "classes.txt"
annotations = "factors.jsonl"
[data.cues]
location = "photos/*.parquet"
[data.unused]
location = "gone"
[prompts]
file = "prompts.txt"
compare = ["photo", "prompts.txt"]
[ood]
negatives = "words.txt"
[observers]
cues = ["*.csv"]
"""


@pytest.fixture
def profile(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.parquet", "classes.txt", "factors.jsonl", "words.txt", "subject-1.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "prompts.txt").write_text("a {}.\n")

    def write(old="", new=""):
        assert old in GOOD
        (tmp_path / "profile.toml").write_text(GOOD.replace(old, new, 1))
        return load_profile(str(tmp_path / "profile.toml"))

    return write


def test_paths_are_relative_to_the_profile_wherever_it_is_used(profile, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    check_profile(profile())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"photos"\nclasses', '"photo"\nclasses', "data set 'photos': no file or folder photo"),
        ("classes.txt", "class.txt", r"data set 'photos': classes: no file class\.txt"),
        ("factors.jsonl", "factor.jsonl", r"annotations: no file factor\.jsonl"),
        ("*.parquet", "*.tar", r"data set 'cues': no file or folder photos/\*\.tar"),
        ('file = "prompts.txt"', 'file = "prompt.txt"', r"prompt set '.*prompt\.txt'"),
        ('compare = ["photo"', 'compare = ["fotograph"', "no prompt set 'fotograph'"),
        ("words.txt", "word.txt", r"no corpus 'word\.txt'"),
        ('"*.csv"', '"*.tsv"', r"decisions: no file .*\*\.tsv"),
    ],
)
def test_a_missing_file_is_one_line(profile, old, new, message):
    with pytest.raises(ClipRobustError, match=message):
        check_profile(profile(old, new))


@pytest.mark.parametrize("name", ["showroom", "imagenet"])
def test_the_shipped_profiles_pass(name):
    check_profile(load_profile(name))
