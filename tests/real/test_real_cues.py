"""Tests of the shape bias of an ImageNet classifier on the public cue-conflict images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from pytest_clip_robust.properties.shape_bias import shape_bias
from pytest_clip_robust.scoring.cues import SIXTEEN, CueAnswers, sixteen_way


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


def test_the_shape_bias_equals_an_independent_measurement(shared, encoder, rows):
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
    # The aggregation changes the value by several points, so it must be part of the metric's id.
    assert len({round(one.value, 2) for one in found.values()}) == 3
