"""The suite of backgrounds in whole runs, on folders in CounterAnimal's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SUITE = str(Path(__file__).resolve().parents[2] / "suites" / "test_backgrounds.py")
PAINT = {"0 red": (220, 30, 30), "1 green": (30, 200, 40), "2 blue": (30, 40, 210)}


@pytest.fixture
def animals(colours):
    """Write animals of one colour: on black they are seen, and of those on green only the green ones are."""
    for name, rgb in PAINT.items():
        for group, around in {"common-night": (0, 0, 0), "counter-grass": (0, 255, 0)}.items():
            folder = colours.path / "animals" / name / group
            folder.mkdir(parents=True)
            for i in range(3):
                pixels = np.full((16, 16, 3), around, np.uint8)
                pixels[4 + i : 8 + i, 4:8] = rgb
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (colours.path / "names.txt").write_text("red\ngreen\nblue\n")
    return colours


def run(animals, *options):
    return animals.runpytest(
        SUITE,
        "--model=py:colour_clip:load",
        "--clip-data=animals=animals?classes=names.txt&role=backgrounds",
        "--clip-report=out",
        *options,
    )


def test_a_model_that_looks_at_the_background_loses_what_it_shows(animals):
    run(animals).assert_outcomes(passed=3)
    gates = json.loads((animals.path / "out" / "report.json").read_text())["gates"]
    assert {gate["measurement"]: (gate["value"], gate["n"]) for gate in gates} == {
        "backgrounds.mean_per_class[animals/common]": (1.0, 9),
        "backgrounds.mean_per_class[animals/counter]": (pytest.approx(1 / 3), 9),
        "backgrounds.drop[animals]": (pytest.approx(2 / 3), 3),
    }


def test_a_set_without_groups_fails_with_what_is_missing(animals):
    result = animals.runpytest(SUITE, "--model=py:colour_clip:load", "--clip-data=photos=photos?role=backgrounds")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*'photos' does not say which backgrounds are common*"])
