"""Tests of effective robustness against published models, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUITE = str(Path(__file__).resolve().parents[2] / "suites" / "test_zero_shot.py")
ARGS = (SUITE, "--model=py:colour_clip:load", "--clip-profile=profile.toml", "-k", "published_models", "-rs", "-v")


@pytest.fixture
def thousand(colours):
    """The colour world as if it were ImageNet and ImageNet-V2: 1,000 classes, of which three have images."""
    names = ["red", "green", "blue", *(f"thing number {i}" for i in range(997))]
    (colours.path / "names.txt").write_text("\n".join(names))
    (colours.path / "profile.toml").write_text(
        """
        name = "thousand"
        [roles]
        id = "photos"
        shift = "dim"
        [data.photos]
        location = "photos"
        classes = "names.txt"
        published_as = "imagenet-1k"
        [data.dim]
        location = "dim"
        classes = "names.txt"
        published_as = "imagenet-v2"
        [prompts]
        templates = ["a photo of a {}."]
        """
    )
    return colours


def test_a_published_set_is_compared_with_every_panel_that_has_it(thousand):
    result = thousand.runpytest(*ARGS, "--clip-report=out")
    result.assert_outcomes(passed=3, deselected=result.parseoutcomes()["deselected"])
    gates = json.loads((thousand.path / "out" / "report.json").read_text())["gates"]
    assert {gate["measurement"] for gate in gates} == {
        f"shift.effective_robustness_{panel}[dim]" for panel in ("timm", "open_clip", "testbed")
    }
    assert {gate["n"] for gate in gates} == {12}
    assert all(gate["interval"]["low"] < gate["value"] < gate["interval"]["high"] for gate in gates)


def test_other_sets_are_skipped_with_what_to_do(colours):
    result = colours.runpytest(*ARGS)
    result.assert_outcomes(skipped=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        ["*no shipped panel has results on 'dim'; if it is one of imagenet-v2, *, say so with published_as in its*"]
    )


def test_without_imagenet_as_the_id_set_there_is_nothing_to_compare_with(thousand):
    profile = thousand.path / "profile.toml"
    profile.write_text(profile.read_text().replace('published_as = "imagenet-1k"', ""))
    result = thousand.runpytest(*ARGS)
    result.assert_outcomes(skipped=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*relative to 'imagenet-1k', which is not the ID set of profile 'thousand'*"])


def test_a_set_with_other_classes_than_the_published_one_fails(colours):
    profile = (colours.path / "profile.toml").read_text()
    (colours.path / "profile.toml").write_text(
        profile.replace('"photos"\n[data.dim]', '"photos"\npublished_as = "imagenet-1k"\n[data.dim]').replace(
            'location = "dim"', 'location = "dim"\npublished_as = "imagenet-v2"'
        )
    )
    result = colours.runpytest(*ARGS)
    result.assert_outcomes(failed=3, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*'photos' has 3 classes, but results published as 'imagenet-1k' are over 1000*"])


def test_without_shifted_sets_the_test_is_skipped(colours):
    profile = (colours.path / "profile.toml").read_text()
    (colours.path / "profile.toml").write_text(profile.replace('shift = ["dim"]', ""))
    result = colours.runpytest(*ARGS)
    result.assert_outcomes(skipped=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*no data set has the role 'shift' in profile 'colours'*"])


def test_an_unknown_published_name_is_a_usage_error(thousand):
    profile = thousand.path / "profile.toml"
    profile.write_text(profile.read_text().replace('"imagenet-v2"', '"imagenet-v3"'))
    result = thousand.runpytest(*ARGS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*data set 'dim': published_as='imagenet-v3'; expected one of imagenet-1k, *"])
