"""Adapters of PEFT on models of open_clip and of transformers: merged features are those of the adapted model."""

from __future__ import annotations

import copy
import json
import shutil
import sys

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers_folders import built, save

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.quiet import quiet

peft = pytest.importorskip("peft")

TEXTS = ["a photo of a cat.", "two dogs"]
OPEN_CLIP = {
    "linear layers": {"target_modules": ["c_fc", "c_proj"]},
    "attention": {"target_modules": ["attn"]},
    "convolution": {"target_modules": ["conv1"]},
    "one tower": {"target_modules": r"visual\..*c_fc"},
    "rank-stabilised": {"target_modules": ["c_fc"], "use_rslora": True},
    "DoRA": {"target_modules": ["c_fc"], "use_dora": True},
    "bias": {"target_modules": ["c_fc"], "bias": "all"},
    "whole modules": {"target_modules": ["c_fc"], "modules_to_save": ["ln_post", "ln_final"]},
    "embeddings": {"target_modules": ["c_fc", "token_embedding"]},
    "ranks by layer": {
        "target_modules": ["c_fc", "c_proj"],
        "rank_pattern": {"c_proj": 2},
        "alpha_pattern": {"c_fc": 3},
    },
}
TRANSFORMERS = {
    "attention": {"target_modules": ["q_proj", "v_proj"]},
    "all linear layers": {"target_modules": "all-linear", "use_rslora": True},
    "feature extraction": {"target_modules": ["fc1"], "task_type": "FEATURE_EXTRACTION", "bias": "all"},
    "whole modules": {"target_modules": ["fc1"], "modules_to_save": ["visual_projection"], "use_dora": True},
}


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


def adapted(model, folder, kind=peft.LoraConfig, **settings):
    """Save an adapter whose parameters are all random, as if it had been trained, and return the adapted model."""
    torch.manual_seed(0)
    rank = {"r": 4} if kind is peft.LoraConfig else {}
    with quiet():  # peft uses what transformers deprecates
        model = peft.get_peft_model(copy.deepcopy(model), kind(**rank, **settings))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
        model.save_pretrained(folder)
    return model.eval()


def close(left, right):
    return torch.allclose(left, right, atol=1e-5, rtol=1e-4)


@pytest.fixture
def base(config, parameters):
    open_clip.add_model_config(config)
    model = open_clip.create_model("tiny-clip")
    model.load_state_dict(parameters)
    return model.eval()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return save(built("CLIP"), tmp_path_factory.mktemp("hf") / "base")


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_an_adapter_on_open_clip_gives_the_features_of_the_adapted_model(
    base, config, checkpoint, tmp_path, photo, name
):
    unmerged = adapted(base, tmp_path / "lora", **OPEN_CLIP[name]).get_base_model()
    loaded, plain = load(f"{config}@{checkpoint}+adapter:{tmp_path}/lora"), load(f"{config}@{checkpoint}")
    assert loaded.weights != plain.weights
    assert (loaded.preprocess, loaded.text) == (plain.preprocess, plain.text)
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        images = unmerged.encode_image(pixels)
        assert close(loaded.encoder.encode_image(pixels), images)
        assert not close(plain.encoder.encode_image(pixels), images)
        tokens = open_clip.get_tokenizer("tiny-clip")(TEXTS)
        assert close(loaded.encoder.encode_text(TEXTS), unmerged.encode_text(tokens))
    assert loaded.notes == ()


def test_an_adapter_that_torch_never_calls_stays_without_effect(base, config, checkpoint, tmp_path, photo):
    """Merging an adapter of nn.MultiheadAttention's out_proj would change features that training never changed."""
    unmerged = adapted(base, tmp_path / "lora", target_modules=["c_fc", "out_proj"]).get_base_model()
    loaded = load(f"{config}@{checkpoint}+adapter:{tmp_path}/lora")
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        assert close(loaded.encoder.encode_image(pixels), unmerged.encode_image(pixels))
    (note,) = loaded.notes
    assert note.startswith("4 adapters of out_proj are not used: torch.nn.MultiheadAttention")


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_an_adapter_on_transformers_equals_the_merged_model(clip_folder, tmp_path, photo, name):
    model, tokenizer, processor = built("CLIP")
    unmerged = adapted(model, tmp_path / "lora", **TRANSFORMERS[name])
    loaded = load(f"hf:{clip_folder}+adapter:{tmp_path}/lora")
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        whole = unmerged.get_base_model()
        images = whole.get_image_features(pixel_values=pixels)
        texts = whole.get_text_features(**tokenizer(TEXTS, padding=True, return_tensors="pt"))
        assert close(loaded.encoder.encode_image(pixels), getattr(images, "pooler_output", images))
        assert close(loaded.encoder.encode_text(TEXTS), getattr(texts, "pooler_output", texts))
    merged = save((unmerged.merge_and_unload(), tokenizer, processor), tmp_path / "merged")
    assert load(f"hf:{merged}").weights == loaded.weights != load(f"hf:{clip_folder}").weights


@pytest.mark.parametrize("kind", [peft.IA3Config, peft.LoHaConfig])
def test_other_kinds_of_adapters_are_merged(clip_folder, tmp_path, photo, kind):
    more = {"feedforward_modules": ["fc1"]} if kind is peft.IA3Config else {"r": 2}
    unmerged = adapted(built("CLIP")[0], tmp_path / "adapter", kind, target_modules=["fc1"], **more)
    loaded = load(f"hf:{clip_folder}+adapter:{tmp_path}/adapter")
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        images = unmerged.get_base_model().get_image_features(pixel_values=pixels)
        assert close(loaded.encoder.encode_image(pixels), getattr(images, "pooler_output", images))


@pytest.fixture
def lora(clip_folder, tmp_path):
    """A folder with an adapter for `clip_folder`."""
    adapted(built("CLIP")[0], tmp_path / "lora", target_modules=["fc1"])
    return tmp_path / "lora"


def test_a_torch_file_of_an_adapter_is_the_same_as_safetensors(clip_folder, lora):
    digest = load(f"hf:{clip_folder}+adapter:{lora}").weights
    torch.save(load_file(lora / "adapter_model.safetensors"), lora / "adapter_model.bin")
    (lora / "adapter_model.safetensors").unlink()
    assert load(f"hf:{clip_folder}+adapter:{lora}").weights == digest


def test_an_adapter_of_another_base_is_noted(clip_folder, lora):
    edit(lora, base_model_name_or_path="openai/clip-vit-base-patch32")
    (note,) = load(f"hf:{clip_folder}+adapter:{lora}").notes
    assert note == f"the adapter names openai/clip-vit-base-patch32 as its base model: used {clip_folder}"
    edit(lora, base_model_name_or_path=f"elsewhere/{clip_folder.name}/")
    assert load(f"hf:{clip_folder}+adapter:{lora}").notes == ()


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def without_one(tensors):
    return dict(sorted(tensors.items())[1:])


def renamed(tensors):
    return {name.replace("fc1", "up_proj"): tensor.clone() for name, tensor in tensors.items()} | tensors


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


BROKEN = {
    "no folder": (lambda f: f.rename(f.with_name("x")), "no folder .*lora with an adapter"),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "bad config": (lambda f: (f / "adapter_config.json").write_text("{"), "expected JSON"),
    "no type": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter_config.json has no peft_type"),
    "no such type": (lambda f: edit(f, peft_type="MAGIC"), "adapter_config.json is not one that peft"),
    "other code": (lambda f: edit(f, megatron_config={"a": 1}, megatron_core="antigravity"), "sets megatron_config"),
    "prompts": (lambda f: edit(f, peft_type="PROMPT_TUNING", num_virtual_tokens=3), "cannot be merged"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no weights; expected adapter_model"),
    "truncated": (lambda f: truncate(f / "adapter_model.safetensors"), "is damaged or truncated"),
    "nan": (lambda f: rewrite(f, lambda t: {k: v / 0 for k, v in t.items()}), "8 of 8 parameters are NaN or infinite"),
    "missing": (lambda f: rewrite(f, without_one), "lacks 1 of 8 parameters, first 'base_model.model.text_model"),
    "unknown": (lambda f: rewrite(f, renamed), "has 8 parameters that are not part of it, first 'base_model.*up_proj"),
    "no such layers": (lambda f: edit(f, target_modules=["c_fc"]), "does not fit CLIPModel: .*c_fc.* not found"),
    "other rank": (
        lambda f: edit(f, r=2),
        r"has 8 of another shape, first .* with \(4, 16\) for \(2, 16\); name the base",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_wrong_adapter_is_one_line(clip_folder, lora, fault):
    break_it, message = BROKEN[fault]
    break_it(lora)
    with pytest.raises(ModelError, match=message) as error:
        load(f"hf:{clip_folder}+adapter:{lora}")
    assert "\n" not in str(error.value)
    assert "antigravity" not in sys.modules


def test_an_adapter_of_transformers_does_not_fit_open_clip(config, checkpoint, lora):
    with pytest.raises(ModelError, match=r"does not fit CLIP: .*fc1.* not found in the base model"):
        load(f"{config}@{checkpoint}+adapter:{lora}")


def test_a_file_and_options_in_the_wrong_place_say_what_to_write(clip_folder, lora):
    with pytest.raises(ModelError, match=r"adapter_config\.json is a file; expected its folder"):
        load(f"hf:{clip_folder}+adapter:{lora}/adapter_config.json")
    with pytest.raises(ModelError, match=r"options belong before \+adapter:"):
        load(f"hf:{clip_folder}+adapter:{lora}?revision=v2")


def test_without_peft_the_package_to_install_is_named(clip_folder, lora, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"needs the package peft .*: pip install 'pytest-clip-robust\[adapters\]'"):
        load(f"hf:{clip_folder}+adapter:{lora}")


def test_a_folder_of_an_adapter_says_how_to_name_its_base(lora):
    with pytest.raises(ModelError, match=rf"holds an adapter without its base model: write BASE\+adapter:{lora}"):
        load(f"hf:{lora}")
    with pytest.raises(ModelError, match=rf"holds an adapter without its base model: write BASE\+adapter:{lora}"):
        load(f"local-dir:{lora}")


def test_a_model_with_an_adapter_in_its_folder_is_refused(lora, tmp_path):
    """With peft, transformers would load the base model that the adapter names, from anywhere."""
    save(built("CLIP"), tmp_path / "both")
    shutil.copy(lora / "adapter_config.json", tmp_path / "both")
    with pytest.raises(ModelError, match=r"both holds a model and an adapter: write BASE\+adapter:.*, or remove"):
        load(f"hf:{tmp_path}/both")


def test_an_adapter_comes_from_the_cache_of_the_hub(clip_folder, lora, monkeypatch):
    asked = []

    def cached(repository, files):
        asked.append(repository)
        return next(lora / name for name in files if (lora / name).exists())

    monkeypatch.setattr("pytest_clip_robust.models.adapters.cached_or_fetched", cached)
    assert load(f"hf:{clip_folder}+adapter:org/lora").weights == load(f"hf:{clip_folder}+adapter:{lora}").weights
    assert set(asked) == {"org/lora"}


def test_an_adapter_on_a_classifier_of_timm(tmp_path, photo):
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_vit.r160_in1k").eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    unmerged = adapted(model, tmp_path / "lora", target_modules=["qkv", "fc1"]).get_base_model()
    loaded = load(f"timm:test_vit.r160_in1k@{tmp_path}/model.safetensors+adapter:{tmp_path}/lora")
    pixels = loaded.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        features = loaded.encoder.encode_image(pixels)
        expected = unmerged.forward_head(unmerged.forward_features(pixels), pre_logits=True)
    assert close(features, expected)
