"""A trained ImageNet classifier, with its own head, in a whole run on real photographs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.scoring.cues import SIXTEEN, member_ids

pytest.importorskip("onnxruntime")

PROFILE = """
name = "real"
[roles]
id = "photos"
cue_conflict = "cues"
[data.photos]
location = "photos"
table = "labels.csv"
label = "wnid"
classes = "imagenet-1k"
[data.cues]
location = "cues"
"""

SUITES = ("test_zero_shot", "test_shape_bias", "test_calibration")


def every(shared, folder, step):
    with (shared / "data" / folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))[::step]


@pytest.fixture(scope="module")
def rows(shared):
    return {"photos": every(shared, "imagenet_1000", 12), "cues": every(shared, "cue_conflict", 15)}


@pytest.fixture(scope="module")
def report(shared, rows, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    for name, source in (("photos", "imagenet_1000"), ("cues", "cue_conflict")):
        (folder / name).mkdir()
        for row in rows[name]:
            link = folder / name / row["file"]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(shared / "data" / source / row["file"])
    with (folder / "photos" / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows["photos"][0])
        table.writeheader()
        table.writerows(rows["photos"])
    (folder / "real.toml").write_text(PROFILE.replace('location = "', f'location = "{folder}/'))
    root = request.config.rootpath
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *(f"suites/{suite}.py" for suite in SUITES),
            f"--model=py:{Path(__file__).parent}/effl0_minilm.py:load_classifier",
            "--clip-device=cpu",
            f"--clip-profile={folder}/real.toml",
            f"--clip-cache={folder}/cache",
            f"--clip-report={folder}/report",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "report" / "report.json").read_text())


@pytest.fixture(scope="module")
def logits(shared, rows):
    """Return the classifier's logits, computed without the plugin."""
    sys.path.append(str(Path(__file__).parent))
    import effl0_minilm

    model = effl0_minilm.load_classifier()

    def of(name, source):
        opened = (Image.open(shared / "data" / source / row["file"]).convert("RGB") for row in rows[name])
        return model.encode_image(np.stack([model.preprocess(picture) for picture in opened]))

    return {"photos": of("photos", "imagenet_1000"), "cues": of("cues", "cue_conflict")}


def values(report):
    return {gate["measurement"]: gate["value"] for gate in report["gates"]}


def test_accuracy_and_likelihood_are_those_of_the_head(report, logits, rows):
    labels = np.array([int(row["class_index"]) for row in rows["photos"]])
    of_photos = logits["photos"].astype(np.float64)
    log_probability = of_photos - np.log(np.exp(of_photos).sum(axis=1, keepdims=True))
    found = values(report)
    assert found["zero_shot.top1[photos]"] == (of_photos.argmax(axis=1) == labels).mean() > 0.75
    assert found["calibration.nll[photos]"] == pytest.approx(
        -log_probability[np.arange(len(labels)), labels].mean(), abs=1e-4
    )


def test_shape_bias_goes_through_the_1000_classes(report, logits, rows):
    probabilities = np.exp(logits["cues"].astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    of_sixteen = np.stack([probabilities[:, member_ids(name)].mean(axis=1) for name in SIXTEEN], axis=1)
    said = [SIXTEEN[answer] for answer in of_sixteen.argmax(axis=1)]
    conflicts = [(one, row) for one, row in zip(said, rows["cues"], strict=True) if row["shape"] != row["texture"]]
    shape, texture = (sum(one == row[cue] for one, row in conflicts) for cue in ("shape", "texture"))
    assert values(report)["shape_bias.ratio_imagenet_mean[cues]"] == pytest.approx(shape / (shape + texture))
    assert not any("direct" in name for name in values(report))
    assert any("direct decisions" in one["reason"] for one in report["not_applicable"])
