"""The correspondence suite on a few of the showroom's own views and keypoints, by raw colour."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pytest_clip_robust.encoding.dense.pairs  # noqa: F401 - imported before pytester forgets imports

SUITE = Path(__file__).resolve().parents[2] / "suites" / "test_correspondence.py"

DENSE = """
import torch
from colour_clip import ColourClip


class DenseColours(ColourClip):
    identity = "dense-colours 1"

    def encode_dense(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 8) - 0.5


def load():
    return DenseColours()
"""

PROFILE = """
[roles]
views = "showroom-views"
keypoints = "showroom-keypoints"
[correspondence]
size = 64
pairs = 12
angles = [0, 40, 80, 180]
"""


@pytest.fixture
def world(colours):
    folder = colours.path
    (folder / "test_suite.py").unlink()
    colours.makepyfile(dense_colours=DENSE)
    (folder / "p.toml").write_text(PROFILE)
    # Not under its own name, which a module of tests here has as well.
    shutil.copy(SUITE, folder / "test_matched.py")
    return colours


def test_recall_by_distance_and_angle_and_keypoints(world):
    result = world.runpytest("--model=py:dense_colours:load", "--clip-profile=p.toml", "--clip-report=out")

    result.assert_outcomes(passed=13, skipped=3)
    report = json.loads((world.path / "out" / "report.json").read_text())
    value = {one["measurement"]: one["value"] for one in report["gates"]}
    assert {key.partition("[")[2] for key in value if "recall_2cm" in key} == {
        "showroom-views]",
        "showroom-views/0-40]",
        "showroom-views/40-80]",
        "showroom-views/80-180]",
    }
    recalls = [value[f"correspondence.recall_{within}[showroom-views]"] for within in ("5px", "10px", "20px")]
    assert 0 < recalls[0] < recalls[1] < recalls[2] < 1
    assert 0 < value["correspondence.pck_10[showroom-keypoints]"] < 1
    result.stdout.fnmatch_lines(["*correspondence.recall_10px*showroom-views/0-40*"])

    again = world.runpytest("--model=py:dense_colours:load", "--clip-profile=p.toml", "-k", "0-40 and 2cm")
    again.assert_outcomes(passed=1, deselected=15)
    again.stdout.fnmatch_lines(["*encoded 0 images and 0 texts*"])
    again.stdout.no_fnmatch_line("*pairs of showroom-views*")


def test_a_model_without_dense_features_fails_in_one_line(world):
    result = world.runpytest("--model=py:colour_clip:load", "--clip-profile=p.toml", "-k", "test_keypoints")

    result.stdout.fnmatch_lines(["*has no encode_dense(pixels)*docs/models.md*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_without_such_sets_the_suite_is_skipped(world):
    (world.path / "p.toml").write_text('[roles]\nid = "photos"\n[data.photos]\nlocation = "photos"\n')

    result = world.runpytest("--model=py:dense_colours:load", "--clip-profile=p.toml", "-rs")

    assert result.parseoutcomes().get("passed") is None
    result.stdout.fnmatch_lines(["*no data set has the role 'views'*"])
