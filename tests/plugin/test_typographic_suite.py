"""Typographic attacks in whole runs, by a model that can read and one that cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pytest_clip_robust.evaluation.typographic  # noqa: F401 - before pytester forgets imports

SUITE = str(Path(__file__).resolve().parents[2] / "suites" / "test_typographic.py")
PAINT = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}

READER = '''
"""Knows colours, and reads words: a note is found by its white, and its word by the share of black in it."""
import numpy as np
import torch
from colour_clip import ColourClip


class Reader(ColourClip):
    identity = "reader 1"

    def preprocess(self, image):
        return np.asarray(image.resize((96, 96)), dtype=np.float32).transpose(2, 0, 1) / 255

    def encode_image(self, pixels):
        ink = ((pixels < 0.3).all(dim=1)).float().sum(dim=(1, 2))
        note = ((pixels > 0.95).all(dim=1)).float().sum(dim=(1, 2))
        seen = (pixels * (pixels.amin(dim=1, keepdim=True) < 0.6)).mean(dim=(2, 3))
        # A blank note has a frame and no letters.
        reads = (note > 50) & (ink / note.clamp(min=1) > 0.25)
        return torch.where(reads[:, None], seen.flip(1), seen)


def load():
    return Reader()
'''

PROFILE = """
[roles]
id = "photos"
typographic = "photos"
[data.photos]
location = "photos"
[prompts]
templates = ["a photo of a {}."]
"""


@pytest.fixture
def world(colours):
    for i, (name, rgb) in enumerate(PAINT.items()):
        for j in range(4):
            pixels = np.array(rgb) + np.random.default_rng(10 * i + j).normal(0, 10, (96, 96, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                colours.path / "photos" / name / f"{name}_{j}.png"
            )
    (colours.path / "p.toml").write_text(PROFILE)
    colours.makepyfile(reader_clip=READER)
    return colours


def run(world, model, *options):
    result = world.runpytest(SUITE, f"--model={model}", "--clip-profile=p.toml", "--clip-report=out", *options)
    report = json.loads((world.path / "out" / "report.json").read_text())
    return result, {gate["measurement"]: gate for gate in report["gates"]}


def test_a_model_that_looks_at_colours_is_not_misled(world):
    result, gates = run(world, "py:colour_clip:load")
    result.assert_outcomes(passed=5, skipped=5)
    values = {name: gate["value"] for name, gate in gates.items()}
    assert values == {
        "typographic.top1[photos]": 1,
        "typographic.top1_blank_note[photos]": 1,
        "typographic.relative_robustness[photos]": 1,
        "typographic.word_effect[photos]": 0,
        "typographic.attack_success[photos]": 0,
    }


def test_a_model_that_reads_loses_by_the_word_and_not_by_the_note(world):
    result, gates = run(world, "py:reader_clip:load")
    result.assert_outcomes(passed=5, skipped=5)
    assert gates["typographic.top1_blank_note[photos]"]["value"] == 1
    assert gates["typographic.top1[photos]"]["value"] < 0.7
    assert gates["typographic.word_effect[photos]"]["value"] > 0.3
    assert gates["typographic.word_effect[photos]"]["details"]["p_no_loss"] < 0.05


def test_features_are_stored_and_a_second_run_encodes_nothing(world):
    first, _ = run(world, "py:colour_clip:load")
    first.stdout.fnmatch_lines(["encoded 36 images and *"])
    second, _ = run(world, "py:colour_clip:load")
    second.stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])


def test_processes_and_batches_do_not_change_the_results(world):
    _, alone = run(world, "py:reader_clip:load")
    result, gates = run(world, "py:reader_clip:load", "--clip-cache=other", "--clip-workers=2", "--clip-batch-size=3")
    result.assert_outcomes(passed=5, skipped=5)
    assert {name: (one["value"], one["interval"]) for name, one in gates.items()} == {
        name: (one["value"], one["interval"]) for name, one in alone.items()
    }


def test_the_profile_chooses_images_and_seed(world):
    _, gates = run(world, "py:colour_clip:load")
    profile = world.path / "p.toml"
    profile.write_text(PROFILE + "[typographic]\nimages = 6\nseed = 3\n")
    result, fewer = run(world, "py:colour_clip:load")
    result.assert_outcomes(passed=5, skipped=5)
    name = "typographic.top1[photos]"
    assert (gates[name]["n"], fewer[name]["n"]) == (12, 6)
    assert gates[name]["provenance"]["data"] != fewer[name]["provenance"]["data"]


def test_a_reference_is_attacked_with_the_same_words(world):
    result, gates = run(world, "py:reader_clip:load", "--clip-reference=py:colour_clip:load")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gates["typographic.top1[photos]"]["verdict"] == "regressed"
    assert gates["typographic.top1_blank_note[photos]"]["verdict"] == "passed"


def test_without_the_role_the_suite_is_skipped(world):
    (world.path / "p.toml").write_text(PROFILE.replace('typographic = "photos"', ""))
    result, _ = run(world, "py:colour_clip:load", "-rs")
    result.assert_outcomes(skipped=10)
    result.stdout.fnmatch_lines(["*no data set has the role 'typographic' in profile 'p'*"])


def test_images_that_are_too_small_fail_with_one_line(world):
    for path in (world.path / "photos").rglob("*.png"):
        Image.open(path).resize((32, 32)).save(path)
    result, _ = run(world, "py:colour_clip:load")
    result.assert_outcomes(failed=5, skipped=5)
    result.stdout.fnmatch_lines(["*photos: image '*.png': its 32x32 pixels are too few to paint a word on; *"])


def test_an_unknown_key_is_a_usage_error(world):
    (world.path / "p.toml").write_text(PROFILE + "[typographic]\nimage = 6\n")
    result = world.runpytest(SUITE, "--model=py:colour_clip:load", "--clip-profile=p.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*profile p.toml: typographic: unknown key 'image' (did you mean 'images'*"])


NOTES = """
[roles]
attacked = "notes"
[data.notes]
location = "notes"
table = "metadata.jsonl"
[prompts]
templates = ["a photo of a {}.", "a drawing of a {}."]
"""


@pytest.fixture
def notes(world):
    """Make 8 photographs of red and blue things in SCAM's layout: plain, and with a note that says the other colour."""
    folder = world.path / "notes"
    folder.mkdir()
    lines = []
    for i in range(8):
        name, word = ("red", "blue") if i % 2 else ("blue", "red")
        pixels = np.array(PAINT[name]) + np.random.default_rng(i).normal(0, 10, (96, 96, 3))
        plain = pixels.clip(0, 255).astype(np.uint8)
        attacked = plain.copy()
        attacked[30:60, 20:70] = 255
        attacked[35:55, 25:65] = 0
        for version, image in (("NoSCAM", plain), ("SCAM", attacked)):
            file = f"{version}_{i}.png"
            Image.fromarray(image).save(folder / file)
            lines.append(
                {
                    "file_name": file,
                    "type": version,
                    "id": f"{version}_{i}",
                    "object_label": name,
                    "attack_word": word,
                    "postit_area_pct": 16.3,
                }
            )
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (world.path / "p.toml").write_text(NOTES)
    return world


def test_words_on_notes_mislead_a_model_that_reads(notes):
    result, gates = run(notes, "py:reader_clip:load", "-rs")
    result.assert_outcomes(passed=3, skipped=7)
    assert {name: gate["value"] for name, gate in gates.items()} == {
        "typographic.scam_accuracy[notes/NoSCAM]": 1,
        "typographic.scam_accuracy[notes/SCAM]": 0,
        "typographic.scam_drop[notes/SCAM]": 1,
    }
    assert gates["typographic.scam_drop[notes/SCAM]"]["details"]["lost"] == 8
    assert gates["typographic.scam_accuracy[notes/SCAM]"]["provenance"]["prompts"]
    result.stdout.fnmatch_lines(["*'notes' has no photographs of the version 'SynthSCAM'*"])
    # 16 photographs, and two names in two templates.
    result.stdout.fnmatch_lines(["encoded 16 images and 4 texts; *"])


def test_words_on_notes_do_not_mislead_a_model_that_looks_at_colours(notes):
    _, gates = run(notes, "py:colour_clip:load")
    assert gates["typographic.scam_accuracy[notes/SCAM]"]["value"] == 1
    assert gates["typographic.scam_drop[notes/SCAM]"]["value"] == 0


def test_a_set_in_the_wrong_role_fails_with_one_line(notes):
    profile = notes.path / "p.toml"
    (notes.path / "notes" / "t.json").write_text(
        json.dumps([{"image": "SCAM_0.png", "caption": "blue", "negative_caption": "red"}])
    )
    profile.write_text(NOTES.replace("metadata.jsonl", "t.json"))
    result, _ = run(notes, "py:colour_clip:load")
    result.stdout.fnmatch_lines(["*'notes' has no words on notes, which the role 'attacked' is for*"])
    profile.write_text(NOTES.replace("attacked", "composition"))
    composition = str(Path(SUITE).with_name("test_composition.py"))
    result = notes.runpytest(
        composition, "-k", "test_accuracy and all", "--model=py:colour_clip:load", "--clip-profile=p.toml"
    )
    result.stdout.fnmatch_lines(["*'notes' has words on notes and no captions; give it the role 'attacked'*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_data_check_counts_photographs_and_words(notes):
    result = notes.runpytest("--clip-data-check", "--clip-profile=p.toml")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["there attacked notes 16 images, 2 names and words"])
