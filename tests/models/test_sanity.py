"""Scale and bias of a model are checked when it is loaded."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

ENCODER = """
import numpy as np
import torch

class Encoder:
    identity = "v1"
    def __init__(self, scale: float, bias: float = 0.0):
        self.scale, self.bias = scale, bias
    def preprocess(self, image):
        return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255
    def encode_image(self, pixels):
        return pixels.flatten(1)[:, :3]
    def encode_text(self, texts):
        return torch.tensor([[len(text), ord(text[0]), 1.0] for text in texts])
"""


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """Return a function that loads a py: model with a scale and a bias."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoders.py").write_text(ENCODER)
    yield lambda scale, bias=0.0: load(f"py:encoders.py:Encoder?scale={scale}&bias={bias}")
    for name in [name for name in sys.modules if name.startswith("clip_robust_model_")]:
        del sys.modules[name]


@pytest.fixture
def with_parameters(config, parameters, tmp_path):
    """Return a function that loads the trained checkpoint with changed parameters."""

    def changed(**values):
        changes = {name: torch.tensor(value) for name, value in values.items()}
        torch.save(parameters | changes, tmp_path / "changed.pt")
        return load(f"{config}@{tmp_path}/changed.pt")

    return changed


@pytest.mark.parametrize(("scale", "bias"), [(100, 0), (117.3, -12.9), (10, -10), (14.3, 0), (2.5, 0)])
def test_scales_and_biases_of_trained_models_have_no_note(encoder, scale, bias):
    assert encoder(scale, bias).notes == ()


@pytest.mark.parametrize("scale", [1.0, 0.2, 900.0])
def test_an_unusual_scale_is_reported(encoder, scale):
    (note,) = encoder(scale).notes
    assert note.startswith(f"its logits have scale {scale:.4g}; trained models have 2 to 250")


@pytest.mark.parametrize("scale", [1e-3, 1e4, 2.9e10, 0.01])
def test_an_implausible_scale_is_refused(encoder, scale):
    with pytest.raises(ModelError, match=r"scale=\S+; expected 0\.1 to 1000"):
        encoder(scale)


@pytest.mark.parametrize("bias", [-1e4, 101, 5.7e8])
def test_an_implausible_bias_is_refused(encoder, bias):
    with pytest.raises(ModelError, match=r"bias=\S+; expected -100 to 100"):
        encoder(100, bias)


@pytest.mark.parametrize("stored", [24.1, 14.2857, 50.0, 100.0])
def test_a_scale_stored_instead_of_its_logarithm_is_refused(with_parameters, stored):
    with pytest.raises(ModelError, match=r"scale=\S+; expected 0\.1 to 1000") as error:
        with_parameters(logit_scale=stored)
    if stored < math.log(torch.finfo(torch.float32).max):
        assert f"logit_scale={stored:.4g} was stored instead of its logarithm" in str(error.value)


def test_a_logarithm_stored_with_the_wrong_sign_is_refused(with_parameters):
    with pytest.raises(ModelError, match=r"scale=0\.0\d+; expected 0\.1 to 1000"):
        with_parameters(logit_scale=-4.6)


def test_an_implausible_bias_of_a_checkpoint_is_refused(with_parameters):
    assert with_parameters(logit_bias=-12.9).encoder.bias == pytest.approx(-12.9)
    with pytest.raises(ModelError, match="bias=-2000; expected"):
        with_parameters(logit_bias=-2000.0)


def test_a_scale_and_bias_with_one_element_are_numbers(with_parameters):
    loaded = with_parameters(logit_scale=[3.0], logit_bias=[-5.0])
    assert loaded.encoder.scale == pytest.approx(math.exp(3))
    assert loaded.encoder.bias == -5
    with pytest.raises(ModelError, match="does not fit"):
        with_parameters(logit_scale=[3.0, 4.0])


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.complex64, torch.bool])
def test_quantised_parameters_are_refused(config, parameters, tmp_path, dtype):
    name = "visual.proj"
    torch.save(parameters | {name: parameters[name].to(dtype)}, tmp_path / "int.pt")
    with pytest.raises(ModelError, match=rf"is quantised: 'visual\.proj' is stored as {str(dtype)[6:]}; save it as"):
        load(f"{config}@{tmp_path}/int.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_parameters_of_any_precision_are_loaded(config, parameters, tmp_path, dtype):
    torch.save({name: value.to(dtype) for name, value in parameters.items()}, tmp_path / "low.pt")
    loaded = load(f"{config}@{tmp_path}/low.pt")
    stored = loaded.encoder._clip.state_dict()["visual.proj"]
    assert torch.equal(stored, parameters["visual.proj"].to(dtype).float())
