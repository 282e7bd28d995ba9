"""Parameters in several files, in the formats of transformers and accelerate."""

from __future__ import annotations

import json

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers_folders import build, save

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.shards import without_shards
from pytest_clip_robust.models.spec import ModelSpec

INDEX = "open_clip_model.safetensors.index.json"


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


@pytest.fixture
def sharded(folder, parameters):
    """A ``local-dir:`` folder whose weights are in several files with an index."""
    (folder / "open_clip_model.safetensors").unlink()
    pattern = "open_clip_model{suffix}.safetensors"
    save_torch_state_dict(parameters, folder, filename_pattern=pattern, max_shard_size="3MB")
    assert len(list(folder.glob("open_clip_model-*.safetensors"))) > 1
    assert (folder / INDEX).exists()
    return folder


@pytest.fixture(scope="session")
def digest(tmp_path_factory, config, checkpoint):
    return load(f"{config}@{checkpoint}").weights


def first(folder):
    return min(folder.glob("open_clip_model-*.safetensors"))


def weights(loaded):
    """The digest, which holds the architecture as well, so that folders are compared with folders."""
    return loaded.weights, loaded.notes


def test_a_sharded_folder_equals_one_file(sharded, parameters, tmp_path_factory):
    by_index = load(f"local-dir:{sharded}")
    assert by_index.notes == ()
    whole = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    save_file(parameters, whole)
    assert by_index.weights == load(f"local-dir:{sharded}@{whole}").weights
    (sharded / INDEX).unlink()
    assert weights(load(f"local-dir:{sharded}")) == weights(by_index)


def test_an_architecture_with_an_index_or_one_of_its_shards(sharded, config, digest, monkeypatch):
    assert load(f"{config}@{sharded}/{INDEX}").weights == digest
    assert load(f"{config}@{first(sharded)}").weights == digest
    monkeypatch.chdir(sharded)
    assert load(f"{config}@{INDEX}").weights == digest
    assert ModelSpec.parse("ViT-B-32@model.safetensors.index.json").has_checkpoint


def test_shards_of_torch_are_read_as_well(folder, parameters, config, digest):
    names = sorted(parameters)
    files = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    for number, file in enumerate(files):
        torch.save({name: parameters[name] for name in names[number::2]}, folder / file)
    weight_map = {name: files[number % 2] for number, name in enumerate(names)}
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert load(f"{config}@{index}").weights == digest
    (note,) = load(f"local-dir:{folder}").notes
    assert "also has pytorch_model.bin.index.json: used open_clip_model.safetensors" in note


def drop(path):
    names = load_file(path)
    names.pop(min(names))
    save_file(names, path)


def rename_in(folder, name):
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    (folder / INDEX).write_text(json.dumps(index))


def duplicate(folder):
    shards = sorted(folder.glob("open_clip_model-*.safetensors"))
    save_file(load_file(shards[0]) | load_file(shards[1]), shards[1])


BROKEN = {
    "missing": (lambda f: first(f).unlink(), r"lacks 1 of its \d shards, first open_clip_model-00001-of-"),
    "truncated": (lambda f: first(f).write_bytes(first(f).read_bytes()[:-9]), "is damaged or truncated"),
    "incomplete": (lambda f: drop(first(f)), "its shards lack 1 of the parameters that it names, first"),
    "twice": (duplicate, "two of its shards have"),
    "no json": (lambda f: (f / INDEX).write_text("{"), "expected JSON"),
    "no map": (lambda f: (f / INDEX).write_text("{}"), "has no 'weight_map'"),
    "a number": (lambda f: (f / INDEX).write_text('{"weight_map": {"a": 3}}'), "has no 'weight_map'"),
    "elsewhere": (lambda f: rename_in(f, "../../secret.safetensors"), "expected names of files in its own folder"),
    "nan": (lambda f: save_file({k: v / 0 for k, v in load_file(first(f)).items()}, first(f)), "NaN or infinite"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_damaged_shards_are_one_line(sharded, fault):
    break_it, message = BROKEN[fault]
    break_it(sharded)
    with pytest.raises(ModelError, match=message) as error:
        load(f"local-dir:{sharded}")
    assert "\n" not in str(error.value)


def test_shards_that_change_while_they_are_read_are_noticed(sharded, monkeypatch):
    from pytest_clip_robust.models.open_clip import loader

    read = loader.read_checkpoint

    def replaced_meanwhile(path, **options):
        found = read(path, **options)
        save_file(load_file(first(sharded)), first(sharded))
        return found

    monkeypatch.setattr(loader, "read_checkpoint", replaced_meanwhile)
    with pytest.raises(ModelError, match="was replaced while it was loaded"):
        load(f"local-dir:{sharded}")


def test_sharded_models_of_transformers(tmp_path):
    model, tokenizer, processor = build("CLIP")
    whole = save((model, tokenizer, processor), tmp_path / "whole")
    shards = save((tokenizer, processor), tmp_path / "shards")
    model.save_pretrained(shards, max_shard_size="20KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    assert load(f"hf:{shards}").weights == load(f"hf:{whole}").weights
    index = shards / "model.safetensors.index.json"
    stored = index.read_text()
    index.write_text('{"weight_map": 3}')
    with pytest.raises(ModelError, match="has no 'weight_map'"):
        load(f"hf:{shards}")
    index.unlink()
    with pytest.raises(ModelError, match=r"has shards without their index; copy model\.safetensors\.index\.json"):
        load(f"hf:{shards}")
    index.write_text(stored)
    min(shards.glob("model-*.safetensors")).unlink()
    with pytest.raises(ModelError, match="lacks 1 of the files that its index names"):
        load(f"hf:{shards}")


@given(st.sets(st.sampled_from(["a", "b"])), st.sets(st.sampled_from(["a", "b"])), st.integers(1, 3))
def test_every_set_of_shards_counts_once(sets, indexed, count):
    names = [f"{one}-{i:05d}-of-{count:05d}.bin" for one in sets for i in range(1, count + 1)]
    names += [f"{one}.bin.index.json" for one in indexed]
    assert len(without_shards(names)) == len(sets | indexed)
    assert set(without_shards(names)) <= set(names)
