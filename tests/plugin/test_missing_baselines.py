"""Baselines that exist must be met: a run never reports that there is none because it looked in another place."""

from __future__ import annotations

import json
import os
import shutil

import pytest

MODEL = "--model=py:colour_clip:load"
WORSE = "--model=py:colour_clip:load_forgetful"
AS_MODEL = "--clip-baseline-name=colour_clip.load"
PROFILE = "--clip-profile=profile.toml"
RECORD = "--snapshot-update"


@pytest.fixture(autouse=True)
def _models_of_sub_directories(recorded, monkeypatch):
    """Let sub-directories import the model."""
    monkeypatch.setenv("PYTHONPATH", str(recorded.path), prepend=os.pathsep)


def compared(result):
    result.stdout.fnmatch_lines(["regressed *"])
    result.stdout.no_fnmatch_line("no baseline yet*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_another_rootdir_does_not_move_the_baselines(recorded, tmp_path):
    compared(recorded.runpytest(WORSE, AS_MODEL, PROFILE, f"--rootdir={tmp_path.parent}"))


def test_a_sub_directory_finds_the_baselines_next_to_the_ini_file(recorded, monkeypatch, run_apart):
    profile = recorded.path / "profile.toml"
    (recorded.path / "inner").mkdir()
    shutil.move(recorded.path / "test_suite.py", recorded.path / "inner" / "test_suite.py")
    monkeypatch.chdir(recorded.path / "inner")
    compared(run_apart(WORSE, AS_MODEL, f"--clip-profile={profile}"))


@pytest.mark.parametrize("ini", [None, "[pytest]\n"])
def test_a_sub_directory_without_the_ini_file_finds_the_baselines_above(recorded, monkeypatch, ini, run_apart):
    """The project has no ini file, or the sub-directory has another one."""
    settings = ["--clip-workers=0", "--clip-device=cpu", f"--clip-cache={recorded.path / 'cache'}"]
    (recorded.path / "inner").mkdir()
    shutil.move(recorded.path / "test_suite.py", recorded.path / "inner" / "test_suite.py")
    if ini is None:
        (recorded.path / "tox.ini").unlink()
    else:
        (recorded.path / "inner" / "pytest.ini").write_text(ini)
    monkeypatch.chdir(recorded.path / "inner")
    options = [WORSE, AS_MODEL, f"--clip-profile={recorded.path / 'profile.toml'}", *settings]
    compared(run_apart(*options))
    result = run_apart(*options, RECORD)
    result.stdout.fnmatch_lines(["recorded * in ../baselines/colour_clip.load/test_suite.json"])
    assert not (recorded.path / "inner" / "baselines").exists()


def test_a_name_that_was_never_recorded_is_a_usage_error_with_the_nearest(recorded):
    result = recorded.runpytest(WORSE, "--clip-baseline-name=color_clip.load", PROFILE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --clip-baseline-name 'color_clip.load': no such baselines in *baselines (did *"]
    )
    result.stderr.fnmatch_lines(
        ["*mean 'colour_clip.load'?); known: colour_clip.load; to record * add --snapshot-update"]
    )


def test_a_new_name_can_be_recorded_and_a_first_one_needs_no_other(recorded, crowd):
    recorded.runpytest(WORSE, "--clip-baseline-name=other", PROFILE, RECORD).assert_outcomes(passed=4)
    shutil.rmtree(crowd.path / "baselines")
    crowd.runpytest(MODEL, "--clip-baseline-name=first", PROFILE).assert_outcomes(passed=4)


def test_a_reference_does_not_need_the_name(recorded):
    options = ("--clip-baseline-name=unknown", "--clip-reference=py:colour_clip:load", PROFILE)
    recorded.runpytest(MODEL, *options).assert_outcomes(passed=4)


def test_a_folder_that_does_not_exist_is_a_usage_error(recorded):
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "--clip-baselines=baslines")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clip-baselines *baslines: no such directory*add --snapshot-update"])


def test_a_model_of_another_family_is_told_how_to_compare_and_not_to_record_itself(recorded):
    result = recorded.runpytest(WORSE, PROFILE)
    (line,) = (line for line in result.outlines if line.startswith("no baseline yet"))
    assert "in baselines/colour_clip.load_forgetful; baselines exist for colour_clip.load: compare with" in line
    assert "--clip-baseline-name=colour_clip.load, or with another model in the same run with --clip-reference" in line
    strict = recorded.runpytest(WORSE, PROFILE, "--clip-strict")
    strict.assert_outcomes(failed=4)
    strict.stdout.fnmatch_lines(
        ["*no baseline yet, and --clip-strict*; baselines exist for colour_clip.load: compare*"]
    )


def test_a_gate_that_the_baseline_lacks_is_recorded_from_the_model_of_the_others(recorded):
    path = recorded.path / "baselines" / "colour_clip.load" / "test_suite.json"
    content = json.loads(path.read_text())
    del content["gates"]["shift.top1[dim]"]
    path.write_text(json.dumps(content))
    result = recorded.runpytest(MODEL, PROFILE)
    result.stdout.fnmatch_lines(["no baseline yet for 1 of 4 gates of py:colour_clip:load in *; record the missing *"])
