"""Attacks through gradients in whole runs: opted into by a role, baselined, skipped where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pytest_clip_robust.evaluation.adversarial  # noqa: F401 - before pytester forgets imports

pytest.importorskip("art.attacks.evasion", reason="needs the extra 'adversarial'")
pytest.importorskip("art.estimators.classification.pytorch")

SUITE = str(Path(__file__).resolve().parents[2] / "suites" / "test_adversarial.py")
NEARLY_GREY = {"red": (130, 126, 126), "green": (126, 130, 126), "blue": (126, 126, 130)}

OTHERS = '''
"""The colour model with features that are no tensors of torch."""
from colour_clip import ColourClip


class Frozen(ColourClip):
    identity = "frozen 1"

    def encode_image(self, pixels):
        return pixels.mean(dim=(2, 3)).numpy()


def load():
    return Frozen()
'''

PROFILE = """
[roles]
id = "photos"
adversarial = "photos"
[data.photos]
location = "photos"
[prompts]
templates = ["a photo of a {}."]
[adversarial]
steps = 4
"""


@pytest.fixture
def world(colours):
    for path in (colours.path / "photos").rglob("*.png"):
        path.unlink()
    for i, (name, rgb) in enumerate(NEARLY_GREY.items()):
        for j in range(3):
            pixels = np.array(rgb) + np.random.default_rng(10 * i + j).integers(-1, 2, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(colours.path / "photos" / name / f"{name}_{j}.png")
    (colours.path / "kept").mkdir()
    (colours.path / "p.toml").write_text(PROFILE)
    colours.makepyfile(frozen_clip=OTHERS)
    return colours


def run(world, model, *options, profile="p.toml"):
    result = world.runpytest(
        SUITE, f"--model={model}", f"--clip-profile={profile}", "--clip-report=out", "--clip-baselines=kept", *options
    )
    report = json.loads((world.path / "out" / "report.json").read_text())
    return result, {gate["measurement"]: gate for gate in report["gates"]}


def test_accuracy_falls_with_the_budget_until_every_colour_is_another(world):
    result, gates = run(world, "py:colour_clip:load")
    result.assert_outcomes(passed=4)
    values = [gates[f"adversarial.top1[photos/linf-{budget:g}]"]["value"] for budget in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    # The colours differ by 4/255 in one channel: half of that in each of two channels turns one into another.
    assert values[0] == 1
    assert values[-1] == 0
    last = gates["adversarial.top1[photos/linf-4]"]
    assert last["details"]["clean"] == 1
    assert last["details"]["lost"] == last["n"]
    assert len(last["misses"]) == min(10, last["n"])


def test_without_the_role_nothing_is_attacked(world):
    (world.path / "none.toml").write_text(PROFILE.replace('adversarial = "photos"', ""))
    result, gates = run(world, "py:colour_clip:load", profile="none.toml")
    assert not gates
    assert result.parseoutcomes().get("passed", 0) == 0


def test_a_model_without_gradients_is_skipped_with_the_reason(world):
    result, gates = run(world, "py:frozen_clip:load", "-rs")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*returns a ndarray in place of a tensor of torch, so it has no gradients*"])
    assert not gates


def test_the_marker_selects_attacks(world):
    world.makepyfile(test_mine="def test_one(): pass")
    result = world.runpytest(
        SUITE, "test_mine.py", "--model=py:colour_clip:load", "--clip-profile=p.toml", "-m", "clip_adversarial"
    )
    result.assert_outcomes(passed=4, deselected=1)


def test_a_baseline_is_recorded_and_compared(world):
    run(world, "py:colour_clip:load", "--snapshot-update")
    result, gates = run(world, "py:colour_clip:load")
    result.assert_outcomes(passed=4)
    assert {gate["verdict"] for gate in gates.values()} == {"passed"}
    assert all(gate["change"]["difference"] == 0 for gate in gates.values())


@pytest.mark.parametrize("steps", ["0", "-1", '"many"'])
def test_wrong_steps_are_one_line(world, steps):
    (world.path / "wrong.toml").write_text(PROFILE.replace("steps = 4", f"steps = {steps}"))
    result = world.runpytest(SUITE, "--model=py:colour_clip:load", "--clip-profile=wrong.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*adversarial*steps*"])
