"""Invariance in whole runs, by models whose breaking strengths are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pytest_clip_robust.evaluation.combination_search
import pytest_clip_robust.evaluation.invariance  # noqa: F401 - before pytester forgets imports
from pytest_clip_robust.cli import main
from pytest_clip_robust.names import strength_at

SUITE = str(Path(__file__).resolve().parents[2] / "suites" / "test_invariance.py")
LEVEL = {"red": 60, "green": 120, "blue": 200}

BRIGHTNESS = '''
"""Answers by mean brightness: red below 90, green from there to below 160, blue above."""
import numpy as np
import torch
from colour_clip import ColourClip


class Brightness(ColourClip):
    identity = "brightness 1"

    def preprocess(self, image):
        return np.asarray(image.resize((8, 8)), dtype=np.float32).transpose(2, 0, 1) / 255

    def encode_image(self, pixels):
        level = pixels.mean(dim=(1, 2, 3)) * 255
        answer = (level >= 90).long() + (level >= 160).long()
        own = 0.05 * pixels.mean(dim=(2, 3))  # no text says anything about it: images must differ to pass for trained
        return torch.cat([torch.nn.functional.one_hot(answer, 4).float(), own], dim=1)

    def encode_text(self, texts):
        named = [[word in self.read(text) for word in ("red", "green", "blue")] for text in texts]
        unknown = [(0, 0) if any(one) else (1, len(text)) for one, text in zip(named, texts)]
        return np.array([[*one, *two, 0, 0] for one, two in zip(named, unknown)], np.float32)

    def read(self, text):
        return text.lower()


class Dim(Brightness):
    """Takes an image for half as bright if it is not of exactly one colour."""
    identity = "brightness 2"

    def encode_image(self, pixels):
        plain = pixels.std(dim=(1, 2, 3)) < 1e-3
        return super().encode_image(torch.where(plain[:, None, None, None], pixels, pixels / 2))


class CaseSensitive(Brightness):
    identity = "brightness 3"

    def read(self, text):
        return text


class Head:
    """The same answers, by a head of its own."""
    identity = "brightness head 1"
    classes = ["red", "green", "blue"]

    def preprocess(self, image):
        return Brightness().preprocess(image)

    def encode_image(self, pixels):
        return Brightness().encode_image(pixels)

    def classify(self, features):
        return 10 * features[:, :3]


def load_head():
    return Head()


def load():
    return Brightness()


def load_dim():
    return Dim()


def load_case():
    return CaseSensitive()
'''

PROFILE = """
[roles]
id = "photos"
invariance = ["photos"]
[data.photos]
location = "photos"
[prompts]
templates = ["a photo of a {}."]
[invariance]
combinations = 2
searched = 4
"""


@pytest.fixture
def world(colours):
    for name, level in LEVEL.items():
        for path in (colours.path / "photos" / name).glob("*"):
            path.unlink()
        for j in range(2):
            pixels = np.full((64, 64, 3), level + j, np.uint8)
            Image.fromarray(pixels).save(colours.path / "photos" / name / f"{name}_{j}.png")
    (colours.path / "p.toml").write_text(PROFILE)
    colours.makepyfile(brightness_clip=BRIGHTNESS)
    return colours


def run(world, *options, model="py:brightness_clip:load"):
    usual = (f"--model={model}", "--clip-profile=p.toml", "--clip-cache=cache", "--clip-report=out")
    result = world.runpytest(SUITE, *usual, *options)
    return result, gates_of(world)


def gates_of(world):
    report = json.loads((world.path / "out" / "report.json").read_text())
    return {gate["measurement"]: gate for gate in report["gates"]}


@pytest.fixture
def whole(world, made_once):
    """The result and the gates of a run of the whole suite, whose report and cache are in the world."""
    result, _ = made_once(run, world)
    return result, gates_of(world)


def first_step(level, bound, sign):
    """Return the first step of gamma that takes a level (0-255) below `bound`, or above it."""
    for step in range(1, 9):
        moved = round(255 * (level / 255) ** 2 ** (sign * strength_at("darken", step)))
        if (moved < bound) if sign > 0 else (moved >= bound):
            return step
    return 9


def median_of(steps):
    return strength_at("darken", min(sorted(steps)[(len(steps) - 1) // 2], 8))


def test_gamma_breaks_at_the_computed_strength(whole):
    result, gates = whole
    result.assert_outcomes(passed=24, skipped=2)
    darker = [first_step(level + j, 160 if level == 200 else 90, 1) for level in (120, 200) for j in (0, 1)] + [9, 9]
    brighter = [first_step(level + j, 90 if level == 60 else 160, -1) for level in (60, 120) for j in (0, 1)] + [9, 9]
    assert gates["invariance.radius_darken[photos]"]["value"] == pytest.approx(median_of(darker))
    assert gates["invariance.radius_brighten[photos]"]["value"] == pytest.approx(median_of(brighter))
    mildest = strength_at("darken", min(darker))
    assert gates["invariance.radius_darken[photos]"]["remark"].startswith(
        f"mildest: darken ({mildest:g} doublings of gamma), "
    )
    assert gates["invariance.agreement[photos/darken]"]["value"] == pytest.approx(np.mean([one > 4 for one in darker]))


def test_what_a_model_does_not_see_does_not_change_its_answers(whole):
    _, gates = whole
    for name in ("flip", "rotation", "crop", "resize", "jpeg"):
        assert gates[f"invariance.agreement[photos/{name}]"]["value"] == 1
    for name in ("rotation", "crop", "resize", "jpeg"):
        gate = gates[f"invariance.radius_{name}[photos]"]
        assert (gate["details"]["never_changed"], gate["misses"]) == (1, [])
    for name in ("paraphrase", "upper_case", "no_article", "plural", "class_order"):
        assert gates[f"invariance.text_agreement[photos/{name}]"]["value"] == 1


def test_the_report_has_the_broken_example(whole):
    _, gates = whole
    gate = gates["invariance.radius_darken[photos]"]
    assert {"sample", "truth", "predicted", "confidence"} == set(gate["misses"][0])
    assert (gate["misses"][0]["truth"], gate["misses"][0]["predicted"]) in {("green", "red"), ("blue", "green")}
    remark = gates["invariance.combination_agreement[photos]"]["remark"]
    assert re.fullmatch(r"mildest: (dark|bright)en \(.*\) leaves \d\d%, such as .*\.png: \w+ -> \w+", remark)


def test_the_number_of_images_is_bounded_and_a_second_run_encodes_nothing(world, whole):
    result, _ = whole
    assert _encoded(result) <= 6 * (34 + 2 + 4) + 6  # the formula of docs/invariance.md, and the images as they are
    second, _ = run(world)
    assert _encoded(second) == 0


def _encoded(result):
    (line,) = (line for line in result.outlines if line.startswith("encoded ") and " texts" in line)
    return int(line.split()[1].replace(",", ""))


def plain(gates):
    return {name: [one[key] for key in ("value", "interval", "remark", "details")] for name, one in gates.items()}


def test_processes_and_batches_do_not_change_the_results(world, whole):
    _, alone = whole
    result, gates = run(world, "--clip-cache=other", "--clip-workers=2", "--clip-batch-size=3")
    result.assert_outcomes(passed=24, skipped=2)
    assert plain(gates) == plain(alone)


def test_a_feature_pack_gives_the_numbers_of_its_model(world, whole, monkeypatch):
    _, alone = whole
    monkeypatch.chdir(world.path)
    assert main(["features", "export", "--model", "py:brightness_clip:load", "--clip-cache", "cache", "pack"]) == 0
    result, gates = run(world, model="features:pack")
    result.assert_outcomes(passed=24, skipped=2)
    assert plain(gates) == plain(alone)


def test_a_classifier_with_a_head_is_measured_on_images_alone(world, whole):
    _, alone = whole
    result, gates = run(world, "-rs", model="py:brightness_clip:load_head")
    result.assert_outcomes(passed=19, skipped=7)
    result.stdout.fnmatch_lines(["*has no text encoder, which a change of prompts needs*"])
    values = {name: one["value"] for name, one in gates.items()}
    assert values == {name: one["value"] for name, one in alone.items() if "text_agreement" not in name}


def test_saved_predictions_are_skipped_with_the_reason(world):
    names = sorted(path.name for path in (world.path / "photos").rglob("*.png"))
    rows = [f"{name},{name.partition('_')[0]}" for name in names]
    (world.path / "answers.csv").write_text("\n".join(["file,answer", *rows]) + "\n")
    result, _ = run(world, "-rs", model="predictions:answers.csv")
    result.assert_outcomes(skipped=26)
    result.stdout.fnmatch_lines(["*images of 'photos' are changed by the run: no answers to them are saved*"])


def test_a_model_that_depends_on_casing_is_found(world):
    _, gates = run(world, "-k", "upper_case", model="py:brightness_clip:load_case")
    gate = gates["invariance.text_agreement[photos/upper_case]"]
    assert gate["value"] < 0.5
    assert "such as " in gate["remark"]


def test_a_reference_is_transformed_in_the_same_way(world):
    profile = world.path / "p.toml"
    for name, level in LEVEL.items():
        for j in range(2, 10):
            path = world.path / "photos" / name / f"{name}_{j}.png"
            Image.fromarray(np.full((64, 64, 3), level + j, np.uint8)).save(path)
    profile.write_text(PROFILE)
    reference = "--clip-reference=py:brightness_clip:load"
    result, gates = run(world, reference, "-k", "under and occluder", model="py:brightness_clip:load_dim")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gates["invariance.agreement[photos/occluder]"]["verdict"] == "regressed"


COMBINATIONS = ("-k", "test_combinations")


def record(world):
    folder = world.path / "baselines"
    folder.mkdir()
    run(world, *COMBINATIONS, *compared(world), "--snapshot-update")
    assert {path.name for path in (folder / "team").iterdir()} == {"test_invariance.json", "test_invariance.parquet"}


def compared(world):
    return f"--clip-baselines={world.path / 'baselines'}", "--clip-baseline-name=team"


@pytest.fixture
def recorded(world, made_once):
    """Return a world with the baseline of the combinations, and the options to compare with it."""
    made_once(record, world)
    return world, (*COMBINATIONS, *compared(world))


def test_the_mildest_combination_is_stored_with_the_baseline_and_tried_first(recorded):
    world, options = recorded
    _, first = run(world, *options)
    profile = world.path / "p.toml"
    profile.write_text(PROFILE.replace("searched = 4", "searched = 0"))
    _, later = run(world, *options)
    _, without = run(world, "-k", "test_combinations")
    first, later, without = (one["invariance.combination_agreement[photos]"] for one in (first, later, without))
    assert later["verdict"] == "passed"
    assert later["change"]["difference"] == 0
    assert later["remark"] == first["remark"] != without["remark"]
    assert later["details"]["tried_by_search"] == without["details"]["tried_by_search"] + 1


def test_a_damaged_baseline_is_a_one_line_error(recorded):
    world, options = recorded
    (world.path / "baselines" / "team" / "test_invariance.parquet").write_bytes(b"no table")
    result, _ = run(world, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_invariance.parquet*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_without_the_role_the_suite_is_skipped(world):
    (world.path / "p.toml").write_text(PROFILE.replace('invariance = ["photos"]', ""))
    result, _ = run(world, "-rs")
    result.assert_outcomes(skipped=26)
    result.stdout.fnmatch_lines(["*no data set has the role 'invariance' in profile 'p'*"])


def test_what_changes_no_prompt_is_skipped_with_the_reason(world):
    result, _ = run(world, "-rs", "-k", "synonym")
    result.assert_outcomes(skipped=1, deselected=25)
    result.stdout.fnmatch_lines(["*synonym changes none of the prompts of 'photos', so it cannot be measured*"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("image = 6", "*profile p.toml: invariance: unknown key 'image' (did you mean 'images'*"),
        ("agreement = 1.5", "*invariance: agreement=1.5; expected a share above 0 and up to 1*"),
        ("combinations = 0", "*invariance: combinations=0; expected at least 1*"),
    ],
)
def test_wrong_settings_are_usage_errors(world, lines, message):
    whole = PROFILE.partition("[invariance]")[0] + f"[invariance]\n{lines}\n"
    (world.path / "p.toml").write_text(whole)
    result = world.runpytest(SUITE, "--model=py:brightness_clip:load", "--clip-profile=p.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_two_workers_give_what_one_process_gives(world, whole, run_apart):
    _, alone = whole
    result = run_apart(
        SUITE,
        "-c",
        "tox.ini",
        "--model=py:brightness_clip:load",
        "--clip-profile=p.toml",
        "--clip-report=out",
        "-n2",
        "--clip-cache=two",
    )
    assert result.ret == 0, "\n".join(result.errlines)
    assert plain(gates_of(world)) == plain(alone)
