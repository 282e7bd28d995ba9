"""Depth estimation, by real architectures with random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pytest_clip_robust.corruptions import estimation
from pytest_clip_robust.corruptions.estimation import FAR_OVER_NEAR, MEDIAN_CODE, DepthEstimator, from_inverse
from pytest_clip_robust.datasets.images.depth import decode_depth
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.quiet import quiet

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 56}


def save_depth_anything(folder, *, seed=0, **changes):
    """Save a Depth Anything of two small layers, as from_pretrained finds it."""
    with quiet():
        from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

        torch.manual_seed(seed)
        config = DepthAnythingConfig(
            backbone_config={"model_type": "dinov2", "out_indices": [1, 2], "reshape_hidden_states": False, **SMALL},
            reassemble_hidden_size=16,
            patch_size=14,
            reassemble_factors=[2, 1],
            neck_hidden_sizes=[8, 8],
            fusion_hidden_size=8,
            head_in_channels=8,
            head_hidden_size=8,
            **changes,
        )
        DepthAnythingForDepthEstimation(config).save_pretrained(folder)
        DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_depth_anything(tmp_path_factory.mktemp("depth-anything"))


@pytest.fixture
def photograph():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))


def test_a_map_has_the_size_of_the_canvas(folder, photograph):
    depth = decode_depth(DepthEstimator(str(folder)).estimate([photograph])[0])
    assert depth.shape == (224, 299)
    assert np.median(depth) == pytest.approx(MEDIAN_CODE, abs=1)
    assert depth.max() / depth.min() == pytest.approx(FAR_OVER_NEAR, rel=0.02)


def test_the_same_image_gives_the_same_map(folder, photograph):
    one, other = (DepthEstimator(str(folder)) for _ in range(2))
    assert one.identity == other.identity
    assert one.estimate([photograph]) == other.estimate([photograph])


def test_other_weights_are_another_estimator(folder, tmp_path):
    assert DepthEstimator(str(save_depth_anything(tmp_path, seed=1))).identity != DepthEstimator(str(folder)).identity


def test_metric_models_predict_distances(tmp_path, photograph):
    estimator = DepthEstimator(str(save_depth_anything(tmp_path, depth_estimation_type="metric", max_depth=20)))
    answer = torch.rand(7, 9)
    assert torch.equal(estimator._distance(answer), answer)
    assert decode_depth(estimator.estimate([photograph])[0]).shape == (224, 299)


def test_relative_predictions_are_inverse_depth():
    depth = from_inverse(torch.tensor([[0.0, 5.0], [10.0, 2.5]]))
    np.testing.assert_allclose(1 / depth, [[0.1, 0.55], [1.0, 0.325]], rtol=1e-6)
    assert (from_inverse(torch.full((3, 3), 7.0)) == 1).all()


def test_a_broken_model_is_named(tmp_path, photograph):
    estimator = DepthEstimator(str(save_depth_anything(tmp_path)))
    with torch.no_grad():
        for parameter in estimator._model.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(ConfigError, match="its predictions are NaN or infinite"):
        estimator.estimate([photograph])


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"depth model .* cannot be loaded") as caught:
        DepthEstimator(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_some_weights_is_refused(tmp_path):
    file = save_depth_anything(tmp_path) / "model.safetensors"
    weights = load_file(file)
    removed = [name for name in weights if name.startswith("head.")]
    save_file(
        {name: tensor for name, tensor in weights.items() if name not in removed}, file, metadata={"format": "pt"}
    )
    with pytest.raises(
        ConfigError, match=rf"its checkpoint has no weights for {len(removed)} parameters, such as 'head"
    ):
        DepthEstimator(str(tmp_path))


def test_code_in_a_model_folder_is_never_run(tmp_path):
    save_depth_anything(tmp_path)
    marker = tmp_path / "marker"
    (tmp_path / "code.py").write_text(f"open({str(marker)!r}, 'w')\n")
    for name, key in (
        ("config.json", "AutoModelForDepthEstimation"),
        ("preprocessor_config.json", "AutoImageProcessor"),
    ):
        content = json.loads((tmp_path / name).read_text())
        content |= {"auto_map": {key: "code.Thing"}, "model_type": "own"}
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"depth model .* cannot be loaded") as error:
        DepthEstimator(str(tmp_path))
    assert "\n" not in str(error.value)
    assert not marker.exists()


def test_a_model_is_named_if_the_hub_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(estimation, "reachable", lambda: False)
    with pytest.raises(ConfigError, match="it is not cached, and the hub cannot be reached"):
        DepthEstimator("nobody/no-depth-model")
