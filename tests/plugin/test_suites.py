"""The shipped suites, on the colour world."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

SUITES = Path(__file__).resolve().parents[2] / "suites"


@pytest.fixture
def suites(colours):
    """Run the shipped suites with a profile that fills every role."""
    rows = [["file", "label", "pose", "style"]]
    rows += [
        [path.relative_to(colours.path / "dim"), path.parent.name, int("_0" in path.name), 0]
        for path in sorted((colours.path / "dim").rglob("*.png"))
    ]
    rows[-1][2:] = [0, 1]
    with (colours.path / "dim" / "factors.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (colours.path / "panel.csv").write_text("name,id,shifted\na,0.5,0.4\nb,0.6,0.5\nc,0.7,0.6\n")
    profile = (colours.path / "profile.toml").read_text()
    (colours.path / "profile.toml").write_text(
        profile.replace("[roles]", '[roles]\nfactors = "posed"\ntransfer = "dim"')
        + '[data.posed]\nlocation = "dim"\ntable = "factors.csv"\n[panels]\ndim = "panel.csv"\n'
    )

    def run(*options):
        result = colours.runpytest(
            str(SUITES), "--model=py:colour_clip:load", "--clip-profile=profile.toml", "--clip-report=out", *options
        )
        return result, json.loads((colours.path / "out" / "report.json").read_text())

    return run


def test_every_suite_measures_what_its_roles_offer(suites):
    result, report = suites("-k", "test_zero_shot or test_visual_factors")
    assert result.ret == pytest.ExitCode.TESTS_FAILED, result.stdout
    verdicts = {gate["measurement"]: gate["verdict"] for gate in report["gates"]}
    assert {name for name, verdict in verdicts.items() if verdict == "passed"} == {
        "zero_shot.top1[photos]",
        "zero_shot.mean_per_class[photos]",
        "zero_shot.top1[dim]",
        "shift.top1[dim]",
        "shift.relative_robustness[dim]",
        "shift.effective_robustness_logit[dim]",
        "visual_factors.accuracy_top[posed/pose]",
        "visual_factors.accuracy_top[posed/style]",
        "visual_factors.average[posed]",
        "visual_factors.worst_factor_top[posed]",
    }
    # The colour world is recognised without an error, and a ratio to no error does not exist.
    assert {name for name, verdict in verdicts.items() if verdict == "error"} == {
        "test_error_ratio[posed-pose]",
        "test_error_ratio[posed-style]",
    }
    result.stdout.fnmatch_lines(["*'posed': every answer is correct, so error ratios are not defined*"])


def test_what_a_set_does_not_annotate_is_skipped_with_the_reason(suites):
    result, _ = suites("-rs", "-k", "test_factor_accuracy or top5")
    result.assert_outcomes(passed=2, skipped=15, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        ["*'posed' does not annotate 'background'*", "*top-5 is not defined among 3 classes*"], consecutive=False
    )


def test_a_part_of_a_run_does_not_complain_of_unused_thresholds(suites):
    result, _ = suites("-k", "test_mean_per_class")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*judged nothing*")


def test_images_are_encoded_once_whatever_number_of_tests_asks(suites):
    _, report = suites()
    assert report["encoded"] == {"images": 24, "texts": 3, "answers": 0}


def test_a_path_after_a_space_is_refused_where_it_would_lose_the_ini_file(colours, tmp_path):
    colours.makepyfile(test_suite="def test_it(model): pass")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    result = colours.runpytest("--model=py:colour_clip:load", "--clip-report", str(outside))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: write --clip-report={outside} (with '='): pytest treats a path after a space *"]
    )
