"""The checks on real weights: in the shared folder, or in the hub's cache of this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from huggingface_hub import try_to_load_from_cache
from PIL import Image

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.encoding import image_features, pixels_of, unit
from pytest_clip_robust.models.check.run import check_loaded
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec


def loaded(text):
    return load_unchecked(ModelSpec.parse(text), device="cpu", precision="fp32", folded=False)


def in_cache(repository, *files):
    """Skip the test unless the hub's cache of this machine has one of the files."""
    if not any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        pytest.skip(f"the hub's cache has no {repository}; fetch it to run this test")


def test_a_model_on_photographs_recognises_the_embedded_pictures(shared, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUST_SHARED", str(shared))
    rows = {row.name: row for row in check_loaded(loaded(f"py:{__file__.rpartition('/')[0]}/effl0_minilm.py:load"))}
    assert not {name: row for name, row in rows.items() if row.status in {Status.FAILED, Status.WARNING}}
    assert int(rows["matching"].measured.split()[0]) >= 8


def test_siglip_2_has_its_published_logits():
    in_cache("google/siglip2-base-patch16-naflex", "model.safetensors")
    rows = {row.name: row for row in check_loaded(loaded("hf:google/siglip2-base-patch16-naflex"))}
    assert rows["published"].status == Status.OK
    assert rows["matching"].status == Status.OK


def test_openai_s_clip_has_its_published_image_features(shared):
    in_cache("timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    folder = shared / "data" / "clip_vitb32_golden_50"
    golden = np.load(folder / "image_embeddings.npy")
    names = json.loads((folder / "order.json").read_text())
    encoder = loaded("ViT-B-32@openai").encoder
    images = [Image.open(folder / "images" / name).convert("RGB") for name in names]
    found = np.concatenate([image_features(encoder, pixels_of(encoder, [one])) for one in images])
    assert (unit(found) * unit(golden.astype(np.float32))).sum(axis=1).min() > 0.999
