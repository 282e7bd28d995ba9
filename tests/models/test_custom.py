from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.device import resolve_device

MODULE = """
import numpy as np
import torch

class Encoder:
    scale, bias, identity = 7.0, -1.0, "v1"
    def __init__(self, device="none", precision="none"):
        self.device, self.precision = device, precision
    def preprocess(self, image):
        return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255
    def encode_image(self, pixels):
        return pixels.flatten(1)[:, :3]
    def encode_text(self, texts):
        return torch.tensor([[len(text), ord(text[0]), 1.0] for text in texts])

def plain(): return Encoder()
def for_device(device): return Encoder(device=device)
def for_precision(*, precision): return Encoder(precision=precision)
def fails(): raise OSError("no space\\nleft")
number = 3

class Namespace:
    make = Encoder

def variant(**changes):
    def make():
        encoder = Encoder()
        for name, value in changes.items():
            setattr(encoder, name, value)
        return encoder
    return make

lacks = object
no_identity = variant(identity="")
no_scale = variant(scale=float("nan"))
negative = variant(scale=-1.0)
wordy = variant(bias="much")
flat = variant(preprocess=lambda image: np.zeros(3))
other_space = variant(encode_text=lambda texts: torch.rand(len(texts), 5))
nan = variant(encode_image=lambda pixels: pixels.flatten(1) * float("nan"))
one_row = variant(encode_image=lambda pixels: torch.ones(1, 3))
collapsed = variant(encode_image=lambda pixels: torch.ones(len(pixels), 3))
deaf = variant(encode_text=lambda texts: torch.ones(len(texts), 3))
dropout = variant(encode_image=lambda pixels: torch.rand(len(pixels), 3))
crashes = variant(encode_image=lambda pixels: 1 / 0)
dictionary = variant(encode_text=lambda texts: {"features": torch.ones(2, 3)})
ragged = variant(encode_image=lambda pixels: [[1.0, 2.0, 3.0], [1.0]])
surrogate = variant(identity="\\ud800")

def leaves():
    import sys
    sys.exit(3)

def skips():
    import pytest
    pytest.skip("no weights here")

def skips_later():
    import pytest
    return variant(encode_image=lambda pixels: pytest.skip("no GPU"))()

class Broken(Encoder):
    @property
    def identity(self):
        raise RuntimeError("no weights")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "models_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield "models_of_mine"
    sys.modules.pop("models_of_mine", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def load(text, **options):
    return load_model(ModelSpec.parse(f"py:{text}"), **{"device": "cpu", "precision": "fp32"} | options)


@pytest.mark.parametrize("place", ["models_of_mine", "models_of_mine.py"])
def test_a_factory_in_a_module_or_file_is_called(module, place):
    loaded = load(f"{place}:plain")
    assert (loaded.encoder.scale, loaded.encoder.bias) == (7.0, -1.0)
    assert loaded.weights == loaded.preprocess == loaded.text


def test_a_class_and_a_dotted_name_are_factories_too(module):
    assert load(f"{module}:Encoder").encoder.device == "cpu"
    assert load(f"{module}:Namespace.make").encoder.precision == "fp32"


def test_a_factory_receives_only_the_parameters_that_it_has(module):
    assert load(f"{module}:for_device").encoder.device == "cpu"
    assert load(f"{module}:for_precision", precision="bf16").encoder.precision == "bf16"
    assert load(f"{module}:plain", device="cuda").device == "cpu"


def test_an_identity_can_be_any_text(module):
    assert load(f"{module}:surrogate").weights


def test_a_precision_that_a_factory_ignores_is_refused(module):
    with pytest.raises(ModelError, match="has no parameter 'precision', so it ignores --clip-precision bf16"):
        load(f"{module}:plain", precision="bf16")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("plan", r"has no 'plan' \(did you mean 'plain'"),
        ("number", "number is a int; expected a function"),
        ("fails", "its factory failed: OSError: no space left"),
        ("lacks", "its object has no preprocess, encode_image, encode_text, scale, bias, identity"),
        ("no_identity", "identity=''"),
        ("no_scale", "scale=nan; expected a positive number"),
        ("negative", "scale=-1.0; expected a positive number"),
        ("wordy", "bias='much'; expected a finite number"),
        ("flat", r"preprocess returns shape \(3,\); expected \(C, H, W\)"),
        ("other_space", "images have 3 dimensions and texts 5; expected the same number"),
        ("nan", "encode_image returns NaN, infinite or zero features"),
        ("one_row", r"encode_image returns shape \(1, 3\) for 2 inputs"),
        ("collapsed", "two different images have the same features, so its weights have collapsed"),
        ("deaf", "two different texts have the same features"),
        ("dropout", r"encoding one image twice gave different features"),
        ("crashes", "encode_image failed: ZeroDivisionError"),
        ("dictionary", "encode_text failed: TypeError"),
        ("ragged", "encode_image failed: ValueError"),
        ("leaves", "its factory failed: SystemExit: 3"),
        ("skips", "its factory failed: Skipped: no weights here"),
        ("skips_later", "encode_image failed: Skipped: no GPU"),
        ("Broken", "RuntimeError: no weights"),
    ],
)
def test_an_error_in_a_model_is_one_line(module, factory, message):
    with pytest.raises(ModelError, match=message) as error:
        load(f"{module}:{factory}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no_such_module:load", "cannot import no_such_module: ModuleNotFoundError"),
        ("nowhere.py:load", "no file nowhere.py"),
        ("broken.py:load", "broken.py failed: SyntaxError"),
        ("script.py:load", "script.py failed: SystemExit: 2"),
        ("script:load", "cannot import script: SystemExit: 2"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(module, place, message, tmp_path):
    (tmp_path / "broken.py").write_text("def load(:")
    (tmp_path / "script.py").write_text("import sys; sys.exit(2)")
    with pytest.raises(ModelError, match=message):
        load(place)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu:x"])
def test_a_device_that_does_not_exist_is_one_line(device):
    from pytest_clip_robust.errors import ConfigError

    with pytest.raises(ConfigError, match=f"--clip-device '{device}'"):
        resolve_device(device)


def test_auto_finds_a_device():
    assert resolve_device("auto") in {"cpu", "cuda", "mps"}
    assert resolve_device("cpu") == "cpu"


STEPS = """
import numpy as np
from pytest_clip_robust.models.protocols import PreprocessSteps

def small(image):
    return np.asarray(image.resize((8, 8)))

def scaled(by):
    return lambda pixels: pixels.permute(0, 3, 1, 2).float() / by

class Stepping(Encoder):
    preprocess_steps = PreprocessSteps(identity="8 x 8", resize=small, normalise=scaled(255))
    def preprocess(self, image):
        import torch
        return scaled(255)(torch.tensor(small(image))[None])[0]

class Wrong(Stepping):
    preprocess_steps = PreprocessSteps(identity="8 x 8", resize=small, normalise=scaled(256))

class Failing(Stepping):
    preprocess_steps = PreprocessSteps(identity="8 x 8", resize=lambda image: 1 / 0, normalise=scaled(256))

class Number(Stepping):
    preprocess_steps = 1000
"""


@pytest.fixture
def stepping(module, tmp_path):
    with (tmp_path / "models_of_mine.py").open("a") as file:
        file.write(STEPS)
    return module


def test_a_preprocess_can_be_given_in_steps(stepping):
    assert load(f"{stepping}:Stepping").steps.identity == "8 x 8"
    assert load(f"{stepping}:Encoder").steps is None


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("Wrong", "its preprocess_steps and preprocess disagree; fix the steps or set them to None"),
        ("Failing", "its preprocess_steps failed: ZeroDivisionError"),
        ("Number", "preprocess_steps is a int; expected PreprocessSteps or None"),
    ],
)
def test_steps_that_disagree_with_preprocess_are_refused(stepping, factory, message):
    with pytest.raises(ModelError, match=message):
        load(f"{stepping}:{factory}")


def test_compiling_is_left_to_the_factory(module):
    (note,) = load(f"{module}:plain", compiled=True).notes
    assert note == "not compiled: its factory has no parameter 'compiled', so --clip-compile has no effect"


ARGUMENTS = """
from pathlib import Path
from typing import Optional

class Given(Encoder):
    def __init__(
        self, device, path: Path, size: int = 224, *, ratio=0.5, fast: bool = False, name="x", top: "int | None" = None
    ):
        super().__init__(device=device)
        self.given = (path, size, ratio, fast, name, top)

def any_name(**options):
    encoder = Encoder()
    encoder.given = options
    return encoder

def union(value: int | str = 3):
    encoder = Encoder()
    encoder.given = value
    return encoder
"""


@pytest.fixture
def taking(module, tmp_path):
    with (tmp_path / "models_of_mine.py").open("a") as file:
        file.write(ARGUMENTS)
    return module


def test_a_spec_gives_arguments_that_are_converted_to_the_parameters_types(taking):
    found = load(f"{taking}:Given?path=runs/1/best.pt&size=96&ratio=0.25&fast=true&name=a%26b&top=5").encoder
    assert found.given == (Path("runs/1/best.pt"), 96, 0.25, True, "a&b", 5)
    assert found.device == "cpu"
    assert load(f"{taking}:Given?path=x").encoder.given == (Path("x"), 224, 0.5, False, "x", None)
    assert load("models_of_mine.py:Given?path=x&size=3").encoder.given[1] == 3


def test_a_factory_with_any_keywords_receives_strings(taking):
    assert load(f"{taking}:any_name?size=3&a.b=c").encoder.given == {"size": "3", "a.b": "c"}
    assert load(f"{taking}:union?value=7").encoder.given == "7"


def test_models_with_different_arguments_are_different_models(taking):
    """An identity that does not depend on the arguments would share stored features."""
    digests = {load(f"{taking}:Given?path={path}").weights for path in ("a", "b")}
    assert len(digests) == 2
    assert load(f"{taking}:any_name").weights == load(f"{taking}:plain").weights


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "path=x&sise=3",
            r"no parameter 'sise' \(did you mean 'size'\?\); it takes path, size, ratio, fast, name, top",
        ),
        ("path=x&size=large", "size='large'; the factory expects a whole number"),
        ("path=x&ratio=half", "ratio='half'; the factory expects a number"),
        ("path=x&fast=maybe", "fast='maybe'; the factory expects true or false"),
        ("path=x&device=cuda", "device is set by --clip-device, not by the spec"),
        ("path=x&precision=bf16", "precision is set by --clip-precision"),
        ("size=3", "its factory failed: TypeError: .*missing 1 required positional argument: 'path'"),
        ("path", "'path' after '\\?' is not OPTION=VALUE"),
        ("path=x&path=y", "an option is given twice"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(taking, query, message):
    with pytest.raises(ModelError, match=message) as error:
        load(f"{taking}:Given?{query}")
    assert "\n" not in str(error.value)


def test_a_factory_without_parameters_takes_no_arguments(taking):
    with pytest.raises(ModelError, match="its factory has no parameter 'size'; it takes no arguments"):
        load(f"{taking}:plain?size=3")


def test_a_pipe_in_place_of_a_module_is_one_line(module, tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(ModelError, match=r"no file pipe\.py"):
        load("pipe.py:load")
