"""The examples of docs/your-own-property.md and of the README work as they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"<!-- (test_\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
EXAMPLES = dict(EXAMPLE.findall((REPOSITORY / "docs" / "your-own-property.md").read_text(encoding="utf-8")))


@pytest.fixture
def run(crowd):
    """Return a function that runs one example on the colour world, and returns the result and the report."""
    (crowd.path / "test_suite.py").unlink()
    profile = crowd.path / "profile.toml"

    def start(name, *arguments, model="py:colour_clip:load"):
        (crowd.path / name).write_text(EXAMPLES[name])
        (crowd.path / "baselines").mkdir(exist_ok=True)
        result = crowd.runpytest(f"--model={model}", f"--clip-profile={profile}", "--clip-report=out", *arguments)
        return result, json.loads((crowd.path / "out" / "report.json").read_text())

    return start


def test_there_are_two_examples():
    assert sorted(EXAMPLES) == ["test_margin.py", "test_sure_mistakes.py"]


def test_a_mean_has_an_interval_a_threshold_and_a_paired_comparison(run):
    result, report = run(
        "test_margin.py", "--clip-reference=py:colour_clip:load", model="py:colour_clip:load_forgetful"
    )
    (gate,) = report["gates"]
    assert gate["metric"] == "own.sure_and_right"
    assert gate["interval"]["method"].startswith("Wilson")
    assert gate["bound"] == 0.6
    assert gate["change"]["test"].startswith("McNemar")
    assert gate["change"]["difference"] < 0
    assert gate["headline"]
    assert result.ret in {0, 1}


def test_a_statistic_of_sums_is_compared_with_a_baseline_by_resampling(run):
    model = "py:colour_clip:load_forgetful"
    run("test_sure_mistakes.py", "--snapshot-update", model=model)
    result, report = run("test_sure_mistakes.py", model=model)
    (gate,) = report["gates"]
    assert (result.ret, gate["metric"], gate["verdict"]) == (0, "own.sure_mistakes", "passed")
    assert gate["interval"]["low"] <= gate["value"] <= gate["interval"]["high"]
    assert gate["change"]["difference"] == 0
    assert "bootstrap" in gate["change"]["test"]


def test_a_model_without_mistakes_fails_in_one_line(run):
    result, report = run("test_sure_mistakes.py", model="py:colour_clip:load")
    (gate,) = report["gates"]
    assert (result.ret, gate["verdict"]) == (1, "error")
    assert "undefined on every replicate" in gate["message"]


def test_the_readme_s_example_works(crowd):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Your own property")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    (crowd.path / "test_suite.py").write_text(code)
    result = crowd.runpytest("--model=py:colour_clip:load", "--clip-profile=profile.toml")
    result.assert_outcomes(passed=1)
