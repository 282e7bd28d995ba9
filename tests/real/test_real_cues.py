"""Shape bias on the public cue-conflict images, of a real classifier and of a real dual encoder."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from pytest_clip_robust.properties.shape_bias import CueAnswers, shape_bias
from pytest_clip_robust.properties.sixteen import SIXTEEN, sixteen_way

EVERY = 10
"""The dual encoder sees every tenth image, so that this takes seconds."""

PROFILE = """
[roles]
cue_conflict = "cues"
[data.cues]
location = "cues"
[prompts]
set = "photo"
[observers]
cues = "{people}"
"""


@pytest.fixture(scope="module")
def encoder(shared):
    sys.path.append(str(Path(__file__).parent))
    import effl0_minilm

    return effl0_minilm


@pytest.fixture(scope="module")
def rows(shared):
    with (shared / "data" / "cue_conflict" / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def pixels(shared, encoder, rows):
    pictures = (Image.open(shared / "data" / "cue_conflict" / row["file"]).convert("RGB") for row in rows)
    return np.stack([encoder.preprocess(picture) for picture in pictures])


def test_the_classifier_is_as_biased_as_others_measured(shared, encoder, rows):
    session = encoder._session(encoder.shared_data() / "dual_encoder_effl0_minilm" / "efficientnet_lite0.onnx")
    parts = (rows[start : start + 64] for start in range(0, len(rows), 64))
    logits = np.concatenate(
        [session.run(["logits"], {"pixel_values": pixels(shared, encoder, part)})[0] for part in parts]
    )
    shapes, textures = (np.array([SIXTEEN.index(row[cue]) for row in rows]) for cue in ("shape", "texture"))
    found = {
        aggregation: shape_bias(
            CueAnswers(
                dataset="cues",
                answers=sixteen_way(logits, aggregation=aggregation),
                shapes=shapes,
                textures=textures,
                class_names=SIXTEEN,
                samples=[row["file"] for row in rows],
                decision=f"imagenet_{aggregation}",
            )
        )
        for aggregation in ("mean", "sum", "max")
    }
    assert found["mean"].metric == "shape_bias.ratio_imagenet_mean"
    assert found["mean"].value == pytest.approx(0.228, abs=0.0005)
    # The aggregation moves it by several points, so that it belongs in the id.
    assert len({round(one.value, 2) for one in found.values()}) == 3


@pytest.fixture(scope="module")
def report(shared, rows, request, tmp_path_factory):
    """Run the suite as a user does, on links to some of the images."""
    folder = tmp_path_factory.mktemp("cues")
    (folder / "cues").mkdir()
    for row in rows[::EVERY]:
        (folder / "cues" / row["file"]).symlink_to(shared / "data" / "cue_conflict" / row["file"])
    profile = folder / "cues.toml"
    profile.write_text(PROFILE.format(people=shared / "data" / "human_responses" / "cue-conflict_*.csv"))
    command = [sys.executable, "-m", "pytest", "suites/test_shape_bias.py"]
    options = ["--model=py:tests/real/effl0_minilm.py:load", "--clip-device=cpu", f"--clip-profile={profile}"]
    folders = [f"--clip-cache={folder}/cache", f"--clip-report={folder}/report"]
    done = subprocess.run(
        [*command, *options, *folders], cwd=request.config.rootpath, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "report" / "report.json").read_text())


def test_the_dual_encoder_answers_directly_and_through_imagenet(shared, encoder, rows, report):
    gates = {gate["metric"]: gate for gate in report["gates"]}
    names = ("ratio", "class_average", "cue_coverage", "shape_accuracy", "texture_accuracy", "error_consistency")
    assert set(gates) == {f"shape_bias.{name}_{how}" for name in names for how in ("direct", "imagenet_mean")}
    seen = rows[::EVERY]
    assert report["encoded"]["images"] == len(seen)
    model = encoder.load()
    texts = model.encode_text([f"a photo of a {name}." for name in SIXTEEN])
    answers = (model.encode_image(pixels(shared, encoder, seen)) @ texts.T).argmax(axis=1)
    named = [
        (SIXTEEN[answer] == row["shape"], SIXTEEN[answer] == row["texture"])
        for answer, row in zip(answers, seen, strict=True)
        if row["shape"] != row["texture"]
    ]
    shape, texture = np.sum(named, axis=0)
    details = gates["shape_bias.ratio_direct"]["details"]
    assert (details["shape_decisions"], details["texture_decisions"]) == (shape, texture)
    assert gates["shape_bias.cue_coverage_direct"]["value"] == pytest.approx((shape + texture) / len(named))


def test_people_are_consistent_with_it_by_chance_at_least(rows, report):
    gates = {gate["metric"]: gate for gate in report["gates"]}
    for how in ("direct", "imagenet_mean"):
        found = gates[f"shape_bias.error_consistency_{how}"]
        assert found["details"]["observers"] == 10
        assert found["n"] == len(rows[::EVERY])
        assert -0.1 < found["details"]["lowest"] <= found["value"] <= found["details"]["highest"] < 0.6
