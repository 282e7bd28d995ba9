"""Tests of timm's classifiers: random ones in the real formats, held against timm's own forward."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

NAME = "test_vit.r160_in1k"


def load(text, **options):
    return load_model(ModelSpec.parse(text), **{"device": "cpu", "precision": "fp32"} | options)


def built(name=NAME, **options):
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    heads = model.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for parameter in head.parameters():  # timm's heads begin at zero, or near it
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def saved(model, path, *, suffix=".safetensors"):
    path = path.with_suffix(suffix)
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    else:
        torch.save({"epoch": 3, "arch": NAME, "state_dict": model.state_dict()}, path)
    return path


@pytest.fixture
def photo():
    noise = np.random.default_rng(0).integers(0, 256, (190, 230, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize(
    "name",
    [
        "test_vit.r160_in1k",
        "test_convnext",
        "test_resnet",
        "resnet10t.c3_in1k",
        "deit_tiny_distilled_patch16_224",
        "dla46_c",
    ],
)
def test_the_head_on_the_features_equals_timm(name, tmp_path, photo):
    model = built(name)
    loaded = load(f"timm:{name}@{saved(model, tmp_path / 'w')}")
    pixels = torch.stack([torch.as_tensor(loaded.encoder.preprocess(photo))] * 2)
    with torch.inference_mode():
        features = loaded.encoder.encode_image(pixels)
        expected = model(pixels)
    logits = loaded.encoder.classify(features.numpy())
    assert np.abs(logits - expected.numpy()).max() <= 1e-5 * expected.abs().max().item()
    assert loaded.encoder.classes == "imagenet-1k"
    assert loaded.head is loaded.encoder
    assert not loaded.has_texts
    two_heads = "its head is more than one layer on its features, so its logits are used as features"
    assert (two_heads in loaded.notes) == (name in {"deit_tiny_distilled_patch16_224", "dla46_c"})


def test_averaged_parameters_of_timms_training_are_found(tmp_path):
    trained, averaged = built().state_dict(), {name: tensor * 0.9 for name, tensor in built().state_dict().items()}
    torch.save({"state_dict": trained, "state_dict_ema": averaged, "arch": "test_vit"}, tmp_path / "last.pth.tar")
    alone = load(f"timm:{NAME}@{saved(built(), tmp_path / 'w')}")
    usual = load(f"timm:{NAME}@{tmp_path / 'last.pth.tar'}")
    assert usual.weights == alone.weights
    assert any(
        "the checkpoint also has state_dict_ema: used state_dict; write ?weights=ema" in one for one in usual.notes
    )
    assert load(f"timm:{NAME}@{tmp_path / 'last.pth.tar'}?weights=ema").weights != alone.weights


def test_preprocessing_is_that_of_the_tag(tmp_path, photo):
    from timm.data import create_transform, resolve_model_data_config

    model = built()
    loaded = load(f"timm:{NAME}@{saved(model, tmp_path / 'w')}")
    expected = create_transform(**resolve_model_data_config(model), is_training=False)(photo)
    assert torch.equal(torch.as_tensor(loaded.encoder.preprocess(photo)), expected)
    assert loaded.steps is not None


def test_preprocessing_of_a_training_run_comes_from_its_arguments(tmp_path):
    (tmp_path / "args.yaml").write_text(yaml.safe_dump({"model": "test_vit", "img_size": 96, "mean": [0.5, 0.5, 0.5]}))
    model = built("test_vit", num_classes=1000, img_size=96)
    file = saved(built("test_vit"), tmp_path / "model_best", suffix=".pth.tar")
    plain = load(f"timm:test_vit@{saved(built('test_vit'), tmp_path.parent / 'w')}")
    run = load(f"timm:test_vit@{file}")
    assert model.num_classes == 1000
    assert run.encoder.preprocess(Image.new("RGB", (300, 200), "white")).shape == (3, 96, 96)
    assert run.weights == plain.weights
    assert run.preprocess != plain.preprocess


def test_a_run_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "args.yaml").write_text("model: resnet10t\n")
    file = saved(built(), tmp_path / "w", suffix=".pth.tar")
    with pytest.raises(ModelError, match=r"trained as resnet10t; write timm:resnet10t@"):
        load(f"timm:test_vit@{file}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pth.tar"])
def test_the_same_weights_in_another_file_are_the_same_model(tmp_path, suffix):
    one = load(f"timm:{NAME}@{saved(built(), tmp_path / 'one')}")
    two = load(f"timm:{NAME}@{saved(built(), tmp_path / 'two', suffix=suffix)}")
    assert (one.weights, one.preprocess) == (two.weights, two.preprocess)


def test_a_folder_of_timm_brings_its_own_classes(tmp_path, photo):
    model = built("test_vit", num_classes=3)
    timm.models.save_for_hf(
        model, tmp_path / "f", model_config={"label_names": ["cat", "dog", "ship"]}, safe_serialization="both"
    )
    loaded = load(f"timm:{tmp_path / 'f'}")
    assert list(loaded.encoder.classes) == ["cat", "dog", "ship"]
    assert loaded.spec.family == ""
    pixels = torch.as_tensor(loaded.encoder.preprocess(photo))[None]
    with torch.inference_mode():
        expected = model(pixels).numpy()
        np.testing.assert_allclose(
            loaded.encoder.classify(loaded.encoder.encode_image(pixels).numpy()), expected, atol=1e-5
        )


def test_a_checkpoint_with_its_own_classes_needs_their_names(tmp_path):
    file = saved(built("test_vit", num_classes=5), tmp_path / "w")
    with pytest.raises(
        ModelError, match=r"the names of its 5 classes are not known; write timm:test_vit@.*\?classes=FILE"
    ):
        load(f"timm:test_vit@{file}")
    assert load(f"timm:test_vit@{file}?classes=names.txt").encoder.classes == "names.txt"


def test_dense_features_exist(tmp_path):
    loaded = load(f"timm:{NAME}@{saved(built(), tmp_path / 'w')}")
    with torch.inference_mode():
        features = loaded.encoder.encode_dense(torch.rand(1, 3, 160, 192))
    assert features.shape == (1, 64, 10, 12)


def test_half_precision_is_near_full_precision(tmp_path, photo):
    file = saved(built(), tmp_path / "w")
    full, half = load(f"timm:{NAME}@{file}"), load(f"timm:{NAME}@{file}", precision="bf16")
    pixels = torch.as_tensor(full.encoder.preprocess(photo))[None]
    with torch.inference_mode():
        one, two = (model.encoder.encode_image(pixels).float() for model in (full, half))
    assert torch.cosine_similarity(one, two).item() == pytest.approx(1, abs=1e-3)
    assert half.precision == "bf16"
    assert not torch.equal(one, two)


def drop(parameters):
    del parameters["norm.weight"]


def reshape(parameters):
    parameters["norm.weight"] = torch.ones(7)


def add(parameters):
    parameters["other.weight"] = torch.ones(7)


def spoil(parameters):
    parameters["norm.weight"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"does not fit test_vit\.r160_in1k: .*Missing key.*norm\.weight"),
        (reshape, r"does not fit test_vit\.r160_in1k: .*size mismatch for norm\.weight"),
        (add, r"does not fit test_vit\.r160_in1k: .*Unexpected key.*other\.weight"),
        (spoil, r"parameters are NaN or infinite, first 'norm\.weight'"),
    ],
)
def test_parameters_must_be_complete(change, message, tmp_path):
    parameters = {name: tensor.clone() for name, tensor in built().state_dict().items()}
    change(parameters)
    save_file(parameters, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=message):
        load(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize("name", ["dla46_c", "test_convnext"])
def test_families_that_timm_loads_in_part_must_be_complete_as_well(name, tmp_path):
    parameters = dict(built(name).state_dict())
    first = next(key for key in parameters if key.endswith(".weight"))
    del parameters[first]
    save_file({key: tensor.contiguous() for key, tensor in parameters.items()}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        load(f"timm:{name}@{tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:resnet5", r"timm has no model 'resnet5' \(did you mean 'resnet50'"),
        (
            "timm:resnet50.a9_in1k",
            r"resnet50 has no tag 'a9_in1k' \(did you mean 'a2_in1k'|resnet50 has no tag 'a9_in1k'",
        ),
        ("timm:resnet50.a1_in1k", r"no weights resnet50.a1_in1k: timm/resnet50.a1_in1k is not cached"),
        ("timm:nobody/nothing", r"nobody/nothing is not cached"),
        ("timm:test_vit@nowhere.pt", r"no checkpoint nowhere\.pt"),
        ("timm:vit_base_patch16_clip_224@nowhere.pt?image=3", r"unknown option 'image'"),
    ],
)
def test_wrong_specs_are_one_line(text, message, monkeypatch):
    monkeypatch.setattr("pytest_clip_robust.system.hub.reachable", lambda: False)
    with pytest.raises(ModelError, match=message) as error:
        load(text)
    assert "\n" not in str(error.value)


def test_a_folder_of_transformers_is_told_how_to_write_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ModelError, match=rf"it is a model of transformers: write hf:{tmp_path}"):
        load(f"timm:{tmp_path}")


def test_a_model_without_a_head_is_refused(tmp_path):
    model = built("test_vit", num_classes=0)
    timm.models.save_for_hf(model, tmp_path / "f", safe_serialization=True)
    with pytest.raises(ModelError, match="has no head"):
        load(f"timm:{tmp_path / 'f'}")
