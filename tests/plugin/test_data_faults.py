"""Faults of data sets in a run: found before anything is encoded, or named below the table."""

from __future__ import annotations

import pytest

MODEL = "--model=py:colour_clip:load"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("more=gone", "data set 'more': no file or folder gone"),
        ("more=photos?classes=gone.txt", "data set 'more': classes: no file gone.txt"),
        ("more=photos?table=gone.csv", "data set 'more': table: no file gone.csv in photos or here"),
    ],
)
def test_a_missing_file_ends_the_run_before_anything_is_encoded(colours, option, message):
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", f"--clip-data={option}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not (colours.path / "cache" / "features").exists()


def test_an_empty_class_folder_is_a_candidate_and_named(colours):
    (colours.path / "photos" / "crimson").mkdir()
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    result.stdout.fnmatch_lines(
        ["*data set 'photos': class folders without images: 1, such as 'crimson'; they count as*"]
    )
    result.stdout.fnmatch_lines(["encoded * images and 4 texts; *"])


def test_a_split_that_does_not_exist_is_an_error(colours):
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "--clip-data=photos=photos?split=test")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no split 'test': */photos has no such folder, but blue, green, red; leave out*"])
