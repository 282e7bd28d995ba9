"""Whole models in a pickle, as WiSE-FT and FLYP save them: their tensors are found, and none of their code runs."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import shutil
import sys
import types
from pathlib import Path

import open_clip
import pytest
import torch
from torch import nn
from training_runs import TINY, write_config

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.checkpoint import read_checkpoint
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

MODELING = '''
import torch


class CLIPEncoder(torch.nn.Module):
    """FLYP's: the whole CLIP."""

    def __init__(self, model, preprocess):
        super().__init__()
        self.model, self.val_preprocess, self.cache_dir = model, preprocess, None


class ImageEncoder(torch.nn.Module):
    """WiSE-FT's: without the transformer of texts, unless it is asked for."""

    def __init__(self, model, preprocess, keep_lang=False):
        super().__init__()
        self.model, self.val_preprocess = model, preprocess
        if not keep_lang and hasattr(self.model, "transformer"):
            delattr(self.model, "transformer")


class ClassificationHead(torch.nn.Linear):
    def __init__(self, normalize, weights):
        super().__init__(weights.shape[1], weights.shape[0])
        self.normalize = normalize
        self.weight = torch.nn.Parameter(weights.clone())


class ImageClassifier(torch.nn.Module):
    def __init__(self, image_encoder, classification_head):
        super().__init__()
        self.image_encoder, self.classification_head = image_encoder, classification_head
        self.val_preprocess = image_encoder.val_preprocess
'''


@pytest.fixture
def modeling(tmp_path_factory, monkeypatch):
    """The package of the repository that trained the model; it is gone when the file is read."""
    repository = tmp_path_factory.mktemp("repository")
    (repository / "src" / "models").mkdir(parents=True)
    (repository / "src" / "models" / "modeling.py").write_text(MODELING)
    monkeypatch.syspath_prepend(repository)
    yield importlib.import_module("src.models.modeling")
    forget()


def forget():
    """Make the package impossible to import."""
    for name in [one for one in sys.modules if one == "src" or one.startswith("src.")]:
        del sys.modules[name]
    for path in [one for one in sys.path if (Path(one) / "src" / "models" / "modeling.py").exists()]:
        shutil.rmtree(Path(path) / "src")


@pytest.fixture
def clip(tmp_path):
    """A CLIP of open_clip with its transform."""
    config = write_config(tmp_path)
    open_clip.add_model_config(config)
    torch.manual_seed(1)
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-clip")
    return types.SimpleNamespace(model=model.eval(), preprocess=preprocess, spec=f"{config}@{tmp_path}/classifier.pt")


def save_by_pickle(model, path):
    with path.open("wb") as file:  # WiSE-FT's and FLYP's utils.torch_save
        pickle.dump(model.cpu(), file)


def save_by_pickle_2(model, path):
    with path.open("wb") as file:
        pickle.dump(model.cpu(), file, protocol=2)


def save_old(model, path):
    torch.save(model, path, _use_new_zipfile_serialization=False)


SAVING = {"pickle": save_by_pickle, "pickle 2": save_by_pickle_2, "torch.save": torch.save, "old torch.save": save_old}


def load(text):
    return load_model(ModelSpec.parse(text), device="cpu", precision="fp32")


@pytest.mark.parametrize("saving", SAVING)
@pytest.mark.parametrize("inside", ["classifier", "encoder", "checkpoint"])
def test_the_clip_in_a_pickled_model_is_loaded(modeling, clip, tmp_path, photo, saving, inside):
    encoder = modeling.CLIPEncoder(clip.model, clip.preprocess)
    head = modeling.ClassificationHead(normalize=True, weights=torch.randn(5, TINY["embed_dim"]))
    whole = modeling.ImageClassifier(encoder, head)
    content = {"classifier": whole, "encoder": encoder, "checkpoint": nn.Sequential(encoder)}[inside]
    expected = clip.model.state_dict()
    SAVING[saving](content, tmp_path / "classifier.pt")
    forget()
    found = read_checkpoint(tmp_path / "classifier.pt")
    assert found.parameters.keys() == expected.keys()
    assert all(torch.equal(found.parameters[name], expected[name]) for name in expected)
    loaded = load(clip.spec)
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        assert torch.allclose(loaded.encoder.encode_image(pixels), clip.model.encode_image(pixels), atol=1e-6)
    head_is_there = inside == "classifier"
    assert [one for one in loaded.notes if "classification_head" in one] == [
        "2 parameters of the checkpoint are not part of image_encoder.model, first 'classification_head.weight'"
    ] * head_is_there
    assert "src.models.modeling" not in sys.modules


def test_a_model_under_a_key_next_to_other_objects_is_loaded(modeling, clip, tmp_path):
    content = {"epoch": 3, "classifier": modeling.CLIPEncoder(clip.model, clip.preprocess), "args": modeling}
    content["args"] = types.SimpleNamespace(lr=0.1)
    torch.save(content, tmp_path / "classifier.pt")
    forget()
    found = read_checkpoint(tmp_path / "classifier.pt").parameters
    assert found.keys() == clip.model.state_dict().keys()


def test_a_classifier_without_a_text_tower_says_so(modeling, clip, tmp_path):
    encoder = modeling.ImageEncoder(clip.model, clip.preprocess)
    head = modeling.ClassificationHead(normalize=True, weights=torch.randn(5, TINY["embed_dim"]))
    save_by_pickle(modeling.ImageClassifier(encoder, head), tmp_path / "classifier.pt")
    forget()
    with pytest.raises(ModelError, match=r"classifier\.pt has an image tower and no text tower") as error:
        load(clip.spec)
    assert "\n" not in str(error.value)
    assert "WiSE-FT" in str(error.value)


def test_a_pickled_model_with_its_text_tower_is_whole(modeling, clip, tmp_path):
    save_by_pickle(modeling.ImageEncoder(clip.model, clip.preprocess, keep_lang=True), tmp_path / "classifier.pt")
    forget()
    assert load(clip.spec).weights


def test_buffers_that_a_state_dict_leaves_out_are_left_out(tmp_path):
    module = nn.BatchNorm1d(2)
    module.register_buffer("scratch", torch.ones(3), persistent=False)
    module.logit_scale = nn.Parameter(torch.tensor(1.0))
    module.visual = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Identity())
    torch.save(module, tmp_path / "model.pt")
    found = read_checkpoint(tmp_path / "model.pt").parameters
    assert found.keys() == module.state_dict().keys()


def test_a_model_that_holds_itself_does_not_hang(tmp_path):
    module = nn.Module()
    module.logit_scale = nn.Parameter(torch.tensor(1.0))
    module.visual = nn.Linear(2, 2)
    module.visual._modules["parent"] = module
    torch.save(module, tmp_path / "model.pt")
    assert {"logit_scale", "visual.weight", "visual.bias"} <= read_checkpoint(tmp_path / "model.pt").parameters.keys()


class Hostile:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_bytes_inside_of_a_pickle_are_read_with_the_same_restrictions(tmp_path):
    """A bare pickle stores each tensor as bytes that torch.load would unpickle without any restriction."""
    inner = io.BytesIO()
    torch.save(Hostile(os.system, f"touch {tmp_path}/pwned"), inner, _use_new_zipfile_serialization=False)
    attack = Hostile(torch.storage._load_from_bytes, inner.getvalue())
    with (tmp_path / "model.pt").open("wb") as file:
        pickle.dump({"state_dict": attack}, file)
    with pytest.raises(ModelError, match=r"unpickling it would run (posix|nt)\.system"):
        read_checkpoint(tmp_path / "model.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("where", ["_parameters", "_modules", "_buffers", "_non_persistent_buffers_set"])
@pytest.mark.parametrize("value", [None, 3, {"a": 3}, {3: 4}, [[]]])
def test_a_damaged_module_is_one_line(tmp_path, where, value):
    module = nn.Linear(2, 2)
    module.__dict__[where] = value
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(ModelError) as error:
        read_checkpoint(tmp_path / "model.pt")
    assert "\n" not in str(error.value)


def test_modules_that_share_modules_do_not_fill_the_memory(tmp_path):
    module = nn.Linear(2, 2)
    for _ in range(60):
        module = nn.ModuleList([module, module])
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="more than 1,000,000 tensors"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_truncated_pickle_is_one_line(modeling, clip, tmp_path):
    save_by_pickle(modeling.CLIPEncoder(clip.model, clip.preprocess), tmp_path / "classifier.pt")
    forget()
    whole = (tmp_path / "classifier.pt").read_bytes()
    for length in (0, 1, 10, 200, len(whole) // 2, len(whole) - 1):
        (tmp_path / "classifier.pt").write_bytes(whole[:length])
        with pytest.raises(ModelError) as error:
            read_checkpoint(tmp_path / "classifier.pt")
        assert "\n" not in str(error.value)
