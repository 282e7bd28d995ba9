"""Tests of whole runs on real photographs with a trained dual encoder."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.scoring.cues import SIXTEEN

pytest.importorskip("onnxruntime")

MODEL = "py:tests/real/effl0_minilm.py:load"

PROFILE = """
name = "real"
[roles]
id = "imagenet_1000"
transfer = "cifar10_500"
cue_conflict = "cues"
[data.imagenet_1000]
location = "{data}/imagenet_1000"
table = "labels.csv"
label = "wnid"
classes = "imagenet-1k"
[data.cifar10_500]
location = "{data}/cifar10_500"
table = "labels.csv"
[data.cues]
location = "cues"
[prompts]
set = "basic-3"
[observers]
cues = "{data}/human_responses/cue-conflict_*.csv"
[thresholds]
"zero_shot.top1[imagenet_1000]" = {{ at_least = {demanded} }}
"""


def cues(shared):
    """Return every tenth cue-conflict image, so that the test takes seconds."""
    with (shared / "data" / "cue_conflict" / "labels.csv").open() as file:
        return list(csv.DictReader(file))[::10]


@pytest.fixture(scope="module")
def main_job(shared, request, tmp_path_factory):
    """Return a function that runs the suites in a new process; all runs of this module share a cache."""
    folder = tmp_path_factory.mktemp("main")
    (folder / "cues").mkdir()
    for row in cues(shared):
        (folder / "cues" / row["file"]).symlink_to(shared / "data" / "cue_conflict" / row["file"])

    def run(demanded):
        profile = folder / "real.toml"
        profile.write_text(PROFILE.format(data=shared / "data", demanded=demanded))
        options = [f"--clip-profile={profile}", f"--clip-cache={folder}/cache", f"--clip-report={folder}/report"]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "--model=py:tests/real/effl0_minilm.py:load",
                "--clip-device=cpu",
                *options,
            ],
            cwd=request.config.rootpath,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads((folder / "report" / "report.json").read_text())

    return run


@pytest.fixture(scope="module")
def cold(main_job):
    return main_job(demanded=0.6)


@pytest.fixture(scope="module")
def warm(cold, main_job):
    return main_job(demanded=0.9)


def values(report):
    return {gate["measurement"]: gate["value"] for gate in report["gates"]}


def test_accuracy_on_photographs_is_close_to_an_independent_measurement(cold):
    done, report = cold
    assert done.returncode == 0, done.stdout
    assert values(report)["zero_shot.top1[imagenet_1000]"] == pytest.approx(0.631, abs=0.005)
    assert values(report)["zero_shot.top5[imagenet_1000]"] == pytest.approx(0.871, abs=0.005)
    assert report["encoded"]["images"] == 1000 + 500 + 128
    assert "zero_shot.top1[imagenet_1000]" in done.stdout


def test_cue_conflicts_are_answered_directly_and_through_imagenet(cold, shared):
    gates = {gate["metric"]: gate for gate in cold[1]["gates"] if gate["dataset"] == "cues"}
    names = ("ratio", "class_average", "cue_coverage", "shape_accuracy", "texture_accuracy", "error_consistency")
    assert set(gates) == {f"shape_bias.{name}_{how}" for name in names for how in ("direct", "imagenet_mean")}
    shape, texture, conflicting = decisions_of_the_encoder_itself(shared)
    found = gates["shape_bias.ratio_direct"]["details"]
    assert (found["shape_decisions"], found["texture_decisions"]) == (shape, texture)
    assert gates["shape_bias.cue_coverage_direct"]["value"] == pytest.approx((shape + texture) / conflicting)
    for how in ("direct", "imagenet_mean"):
        consistency = gates[f"shape_bias.error_consistency_{how}"]
        assert (consistency["details"]["observers"], consistency["n"]) == (10, 128)
        assert -0.1 < consistency["value"] < 0.3


def decisions_of_the_encoder_itself(shared):
    """Return the numbers of shape answers, texture answers and conflicts, counted without the plugin."""
    sys.path.append(str(Path(__file__).parent))
    import effl0_minilm

    model = effl0_minilm.load()
    rows = [row for row in cues(shared) if row["shape"] != row["texture"]]
    opened = (Image.open(shared / "data" / "cue_conflict" / row["file"]).convert("RGB") for row in rows)
    images = model.encode_image(np.stack([model.preprocess(picture) for picture in opened]))
    templates = ("{}", "a photo of a {}.", "a picture of the {}.")
    texts = model.encode_text([template.format(name) for name in SIXTEEN for template in templates])
    # A class weight is the normalised mean of unit vectors.
    weights = texts.reshape(len(SIXTEEN), len(templates), -1).mean(axis=1)
    answers = (images @ (weights / np.linalg.norm(weights, axis=1, keepdims=True)).T).argmax(axis=1)
    said = [SIXTEEN[answer] for answer in answers]
    shape, texture = (sum(one == row[cue] for one, row in zip(said, rows, strict=True)) for cue in ("shape", "texture"))
    return shape, texture, len(rows)


def test_the_second_run_encodes_nothing_and_measures_the_same(cold, warm):
    (_, first), (_, second) = cold, warm
    assert second["encoded"] == {"images": 0, "texts": 0, "answers": 0}
    assert values(second) == values(first)


def test_a_threshold_that_is_not_met_fails_the_test_with_the_reason(warm):
    done, report = warm
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "is below its threshold 0.9000" in done.stdout
    assert "more than the noise" in done.stdout
    assert "wrong decisions, most confident first:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert report["verdicts"]["below_threshold"] == 1
