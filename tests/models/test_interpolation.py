"""WiSE-FT: models between two others, in the space of their parameters."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from training_runs import TINY
from transformers_folders import build, built, save

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.interpolation import _difference, _interpolate, _settings, _uncommon
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

RESNET = {**TINY, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


def random_like(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + 0.1 * torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in parameters.items()
    }


@pytest.fixture
def tuned(parameters, tmp_path):
    """A checkpoint in which every parameter of `checkpoint` is changed."""
    torch.save({"state_dict": random_like(parameters, 0)}, tmp_path / "tuned.pt")
    return tmp_path / "tuned.pt"


@pytest.mark.parametrize("alpha", ["0.25", ".5", "0.9"])
def test_features_are_those_of_the_interpolated_state_dict(config, checkpoint, parameters, tuned, photo, alpha):
    loaded = load(f"interpolate:{config}@{checkpoint},{config}@{tuned}?alpha={alpha}")
    other = torch.load(tuned, weights_only=True)["state_dict"]
    mixed = {name: (1 - float(alpha)) * parameters[name] + float(alpha) * other[name] for name in parameters}
    plain = open_clip.create_model("tiny-clip")
    plain.load_state_dict(mixed)
    plain.eval()
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        assert torch.allclose(loaded.encoder.encode_image(pixels), plain.encode_image(pixels), atol=1e-5, rtol=1e-4)
        tokens = open_clip.get_tokenizer("tiny-clip")(["a photo of a cat."])
        texts = loaded.encoder.encode_text(["a photo of a cat."])
        assert torch.allclose(texts, plain.encode_text(tokens), atol=1e-5, rtol=1e-4)
    scales = [float(one["logit_scale"].exp()) for one in (parameters, other)]
    assert loaded.encoder.scale == pytest.approx(scales[0] ** (1 - float(alpha)) * scales[1] ** float(alpha))


def test_the_ends_are_the_two_models_themselves(config, checkpoint, tuned):
    first, second = load(f"{config}@{checkpoint}"), load(f"{config}@{tuned}")
    for alpha, end in (("0", first), ("0.0", first), ("1", second), ("1.0", second)):
        loaded = load(f"interpolate:{config}@{checkpoint},{config}@{tuned}?alpha={alpha}")
        assert (loaded.weights, loaded.encoder.identity) == (end.weights, end.encoder.identity)
    between = load(f"interpolate:{config}@{checkpoint},{config}@{tuned}?alpha=0.5")
    assert between.weights not in {first.weights, second.weights}
    assert (between.preprocess, between.text) == (first.preprocess, first.text)
    swapped = load(f"interpolate:{config}@{tuned},{config}@{checkpoint}?alpha=0.5")
    assert swapped.weights == between.weights


def test_a_folder_and_a_checkpoint_are_interpolated_if_all_settings_agree(folder, config, checkpoint, tuned):
    path = folder / "open_clip_config.json"
    with pytest.raises(ModelError, match=r"differ in preprocessing: mean is \[0\.5, 0\.5, 0\.5\] and \[0\.48"):
        load(f"interpolate:local-dir:{folder},{config}@{tuned}?alpha=0.5")
    path.write_text(json.dumps({"model_cfg": TINY}))
    mixed = load(f"interpolate:local-dir:{folder},{config}@{tuned}?alpha=0.5")
    assert mixed.weights == load(f"interpolate:{config}@{checkpoint},{config}@{tuned}?alpha=0.5").weights


def test_running_statistics_are_interpolated_and_counters_are_not(tmp_path):
    config = tmp_path / "tiny-resnet.json"
    config.write_text(json.dumps(RESNET))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    state = random_like(open_clip.create_model("tiny-resnet").state_dict(), 1)
    other = random_like(state, 2)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert counters
    other |= {name: torch.tensor(7) for name in counters}
    save_file(state, tmp_path / "a.safetensors")
    save_file(other, tmp_path / "b.safetensors")
    mean = {name: (state[name] + other[name]) / 2 if state[name].is_floating_point() else state[name] for name in state}
    save_file(mean, tmp_path / "mean.safetensors")
    spec = f"interpolate:{config}@{tmp_path}/a.safetensors,{config}@{tmp_path}/b.safetensors?alpha=0.5"
    assert load(spec).weights == load(f"{config}@{tmp_path}/mean.safetensors").weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of one architecture of transformers."""
    root = tmp_path_factory.mktemp("hf")
    model, tokenizer, processor = build("CLIP")
    first = save((model, tokenizer, processor), root / "first")
    state = random_like(model.state_dict(), 3)
    model.load_state_dict(state)
    return first, save((model, tokenizer, processor), root / "second")


def test_models_of_transformers_are_interpolated(folders, photo):
    first, second = (load(f"hf:{folder}") for folder in folders)
    loaded = load(f"interpolate:hf:{folders[0]},hf:{folders[1]}?alpha=0.5")
    assert loaded.encoder.scale == pytest.approx(np.sqrt(first.encoder.scale * second.encoder.scale))
    assert loaded.weights not in {first.weights, second.weights}
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        features = [one.encoder.encode_image(pixels) for one in (first, loaded, second)]
    assert not torch.allclose(features[0], features[1])
    assert not torch.allclose(features[2], features[1])
    assert load(f"interpolate:hf:{folders[0]},hf:{folders[1]}?alpha=1").weights == second.weights


def test_an_adapter_is_interpolated_towards_its_base(folders, tmp_path):
    peft = pytest.importorskip("peft")
    from test_adapters import adapted

    assert peft
    adapted(built("CLIP")[0], tmp_path / "lora", target_modules=["fc1"])
    base, tuned = f"hf:{folders[0]}", f"hf:{folders[0]}+adapter:{tmp_path}/lora"
    ends = [load(base).weights, load(tuned).weights]
    assert [load(f"interpolate:{base},{tuned}?alpha={alpha}").weights for alpha in (0, 1)] == ends
    assert load(f"interpolate:{base},{tuned}?alpha=0.5").weights not in ends


def test_different_architectures_are_refused_with_the_difference(config, checkpoint, tuned, tmp_path, folders):
    start = f"interpolate:{config}@{checkpoint}"
    deeper = tmp_path / "deeper.json"
    deeper.write_text(json.dumps({**TINY, "text_cfg": {**TINY["text_cfg"], "layers": 3}}))
    open_clip.add_model_config(deeper)
    torch.save(open_clip.create_model("deeper").state_dict(), tmp_path / "deeper.pt")
    siglip = save(built("SigLIP"), tmp_path / "siglip")
    for spec, message in {
        f"{start},{deeper}@{tmp_path}/deeper.pt?alpha=0.5": r"architecture: text_cfg\.layers is 2 and 3; only param",
        f"{start},{config}@{tuned}?quick_gelu=true?alpha=0.5": "architecture: quick_gelu is not set and true",
        f"{start},hf:{folders[0]}?alpha=0.5": "architecture: embed_dim is 32 and not set",
        f"interpolate:hf:{folders[0]},hf:{siglip}?alpha=0.5": "architecture: .* is .*CLIPModel.* and .*SiglipModel",
    }.items():
        with pytest.raises(ModelError, match=f"the two models differ in {message}") as error:
            load(spec)
        assert "\n" not in str(error.value)


def test_another_tokenizer_is_refused(folders, tmp_path):
    other = save(built("CLIP"), tmp_path / "other")
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text().replace('"a</w>"', '"?a</w>"'))
    with pytest.raises(ModelError, match="the two models differ in the tokenizer"):
        load(f"interpolate:hf:{folders[0]},hf:{other}?alpha=0.5")


def test_options_that_override_a_config_equal_such_a_config():
    overridden = [{"embed_dim": 4, "vision_cfg": {"width": 8}}, {"quick_gelu": True}, "CLIP"]
    stated = [{"embed_dim": 4, "vision_cfg": {"width": 8}, "quick_gelu": True}, {}, "CLIP"]
    assert _settings(overridden) == _settings(stated)
    assert _settings([{"quick_gelu": False}, {}]) == _settings([{}, {}])
    assert _settings([{"quick_gelu": True}, {"quick_gelu": False}]) == _settings([{}, {}])


def test_a_tensor_with_two_names_is_interpolated_once():
    tied = torch.ones(2)
    state = {"a": tied, "b": tied, "c": torch.zeros(2)}
    _interpolate(state, {"a": torch.full((2,), 3.0), "b": torch.full((2,), 3.0), "c": torch.ones(2)}, 0.25)
    assert tied.tolist() == [1.5, 1.5]
    assert state["c"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": torch.ones(2), "n": torch.tensor(3), "b": torch.ones(1)}, "their parameters: only one has b"),
        ({"a": torch.ones(2)}, "their parameters: only one has n"),
        ({"a": torch.ones(3), "n": torch.tensor(3)}, r"the shape of a: (2,) and (3,)"),
        ({"a": torch.ones(2), "n": torch.tensor(4)}, "n, which holds whole numbers"),
        ({"a": torch.zeros(2), "n": torch.tensor(3)}, ""),
    ],
)
def test_parameters_that_cannot_be_interpolated_are_named(other, message):
    assert _uncommon({"a": torch.ones(2), "n": torch.tensor(3)}, other) == message


class Fake:
    text = ""

    def __init__(self, architecture):
        self.architecture = self.preprocess = architecture


JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), JSON, max_size=3), JSON, JSON)
def test_any_changed_setting_is_a_difference(settings, value, other):
    first, second = Fake([{**settings, "x": {"y": value}}]), Fake([{**settings, "x": {"y": other}}])
    assert bool(_difference(first, second)) == (_settings(value) != _settings(other))
    assert not _difference(first, first)
