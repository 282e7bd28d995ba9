"""Models of transformers: features, logits and pixels of the library itself, complete weights, one-line errors."""

from __future__ import annotations

import json
import pickle
import shutil
from functools import cache

import numpy as np
import open_clip
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers_folders import BUILD, IMAGE, SIZE, bert_tokenizer, built, clip_tokenizer, save, text

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models import compilation
from pytest_clip_robust.models.compilation import CannotCompileError
from pytest_clip_robust.models.dense import dense_encoder
from pytest_clip_robust.models.hugging_face import folder as folder_module
from pytest_clip_robust.models.hugging_face.loader import _features
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system import hub
from pytest_clip_robust.system.hub import HubError

TEXTS = ["a photo of a cat.", "A Red dog, a word!", "cat"]
SIGMOID = ("SigLIP", "SigLIP 2", "SigLIP 2 NaFlex")
FILLED = {"padding": "max_length", "max_length": 64, "truncation": True}
TOKENS = dict.fromkeys((*SIGMOID, "ALIGN"), FILLED)
"""What the documentation of a family passes to its tokenizer; the others pad to the longest text."""
CLEANED = {
    "SigLIP": ["a photo of a cat", "a red dog a word", "cat"],
    "SigLIP 2": ["a photo of a cat.", "a red dog, a word!", "cat"],
}
"""The texts that the tokenizer of a family should have got, where it does not clean them itself."""

every_family = pytest.mark.parametrize("family", BUILD)


def load(text, **options):
    return load_model(ModelSpec.parse(str(text)), device="cpu", **({"precision": "fp32"} | options))


def photo(width=50, height=37, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


PHOTOS = [photo(), photo(31, 64, seed=1), photo(40, 40, seed=2)]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Return a function that returns the folder of a family; tests must not change it."""
    return cache(lambda family: save(built(family), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def loaded_from(folder_of):
    return cache(lambda family: load(f"hf:{folder_of(family)}"))


@pytest.fixture
def clip(folder_of, tmp_path):
    """A CLIP folder that the test may change."""
    return shutil.copytree(folder_of("CLIP"), tmp_path / "clip")


@torch.inference_mode()
def library_output(family, folder):
    """Return what the library computes from the files by its own forward."""
    model = hf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(CLEANED.get(family, TEXTS), return_tensors="pt", **TOKENS.get(family, {"padding": True}))
    if family in SIGMOID:
        tokens = {"input_ids": tokens["input_ids"]}
    pixels = hf.AutoImageProcessor.from_pretrained(folder)(PHOTOS, return_tensors="pt")
    return model(**tokens, **pixels)


@torch.inference_mode()
def our_features(loaded):
    encoder = loaded.encoder
    images = encoder.encode_image(torch.stack([encoder.preprocess(image) for image in PHOTOS]))
    return normalize(images, dim=1), normalize(encoder.encode_text(TEXTS), dim=1)


@every_family
def test_features_and_logits_are_those_of_the_library(family, folder_of, loaded_from):
    expected = library_output(family, folder_of(family))
    loaded = loaded_from(family)
    images, texts = our_features(loaded)
    torch.testing.assert_close(images, normalize(expected.image_embeds, dim=1), rtol=0, atol=2e-6)
    torch.testing.assert_close(texts, normalize(expected.text_embeds, dim=1), rtol=0, atol=2e-6)
    logits = loaded.encoder.scale * images @ texts.T + loaded.encoder.bias
    torch.testing.assert_close(logits, expected.logits_per_image, rtol=1e-5, atol=5e-5)
    assert (loaded.encoder.bias != 0) == (family in SIGMOID)
    assert logits.std() > 1e-4  # or the comparison would say little


@every_family
def test_a_text_has_the_same_features_in_every_batch(family, loaded_from):
    encoder = loaded_from(family).encoder
    together = encoder.encode_text([*TEXTS, "word " * 40])
    for one, features in zip(TEXTS, together, strict=False):
        torch.testing.assert_close(encoder.encode_text([one])[0], features, rtol=1e-5, atol=1e-5)


@every_family
def test_an_image_has_the_pixels_of_the_librarys_batch(family, folder_of, loaded_from):
    preprocess = pickle.loads(pickle.dumps(loaded_from(family).encoder.preprocess))
    processor = hf.AutoImageProcessor.from_pretrained(folder_of(family))
    images = [*PHOTOS, photo(50, 3), photo(3, 50), photo(40, 1), photo(1, 1)]
    batch = processor(images, return_tensors="pt")
    for i, image in enumerate(images):
        pixels = preprocess(image)
        if family == "SigLIP 2 NaFlex":
            parts = batch["pixel_values"][i], batch["pixel_attention_mask"][i], batch["spatial_shapes"][i]
            assert torch.equal(pixels[0, :, :-3], parts[0])
            assert torch.equal(pixels[0, :, -3], parts[1].float())
            assert all(torch.equal(row, parts[2].float()) for row in pixels[0, :, -2:])
        else:
            assert torch.equal(pixels, batch["pixel_values"][i])
        assert torch.equal(pixels, preprocess(image))
    assert len(pickle.dumps(preprocess)) < 10_000  # the model stays in its process


CONTEXTS = {"CLIP": 77, "MetaCLIP 2": 77, "ALIGN": 64, "AltCLIP": 77, "Chinese-CLIP": 52, "dual encoder": 40}


@every_family
def test_texts_longer_than_the_context_are_truncated_and_reported(family, folder_of, loaded_from):
    encoder, context = loaded_from(family).encoder, CONTEXTS.get(family, 64)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder_of(family))
    special = len(tokenizer("x")["input_ids"]) - len(tokenizer.tokenize("x"))
    start = len(tokenizer.tokenize("x")) - 1
    fits = "x" * (context - special - start)
    assert len(tokenizer(fits)["input_ids"]) == context
    assert encoder.too_long([fits, f"{fits}x", "cat"]) == [False, True, False]
    if family not in {"CLIP", "SigLIP", "MetaCLIP 2"}:  # there the letters differ at the end of a word
        torch.testing.assert_close(encoder.encode_text([f"{fits}xx"]), encoder.encode_text([fits]))
    assert torch.isfinite(encoder.encode_text(["word " * 300])).all()


@pytest.mark.parametrize("family", ["AltCLIP", "Chinese-CLIP", "ALIGN"])
def test_a_context_shorter_than_that_of_the_files_is_printed(family, loaded_from):
    (note,) = loaded_from(family).notes
    assert note == (f"texts have at most {CONTEXTS[family]} tokens, as in the family's training; its files permit 512")


def test_a_model_without_remarks_has_no_notes(loaded_from):
    assert loaded_from("CLIP").notes == ()


def test_sigmoid_models_never_mask_padding(loaded_from):
    """Their last token is pooled, and is padding for most texts."""
    for family in SIGMOID:
        tokens = loaded_from(family).encoder._tokens(TEXTS)
        assert tokens.shape == (len(TEXTS), 1, 64)


def test_upper_case_and_punctuation_are_those_of_the_training(loaded_from):
    def same(family, text, other):
        first, second = loaded_from(family).encoder.encode_text([text, other])
        return torch.allclose(first, second, atol=1e-6)

    assert same("SigLIP", "A Red, dog!", "a red dog")
    assert same("SigLIP 2", "A Red, dog!", "a red, dog!")
    assert not same("SigLIP 2", "a red, dog!", "a red dog")
    assert same("SigLIP 2 NaFlex", "A Red, dog!", "a red, dog!")
    assert not same("MetaCLIP 2", "A red dog", "a red dog")


def test_transformers_4_returns_features_without_an_output_object():
    features = torch.ones(2, 3)
    assert _features(features) is features
    assert _features(hf.modeling_outputs.BaseModelOutputWithPooling(pooler_output=features)) is features


def keys(loaded):
    return loaded.weights, loaded.preprocess, loaded.text


def test_the_same_weights_have_the_same_key_in_every_format(folder_of, loaded_from, tmp_path):
    expected = loaded_from("CLIP")
    model, tokenizer, processor = built("CLIP")
    moved = shutil.copytree(folder_of("CLIP"), tmp_path / "moved")
    sharded = save((tokenizer, processor), tmp_path / "sharded")
    model.save_pretrained(sharded, max_shard_size="20KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    pickled = save((tokenizer, processor, model.config), tmp_path / "pickled")
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    for folder in (moved, sharded, pickled):
        found = load(f"hf:{folder}")
        assert keys(found) == keys(expected)
        assert found.encoder.identity == expected.encoder.identity
    assert len(set(keys(expected))) == 3


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def edit_weights(folder, change):
    parameters = load_file(folder / "model.safetensors")
    change(parameters)
    save_file(parameters, folder / "model.safetensors", metadata={"format": "pt"})


def test_one_changed_weight_changes_the_key_of_the_weights_alone(clip, loaded_from):
    edit_weights(clip, lambda parameters: parameters["text_projection.weight"][0, 0].add_(1e-3))
    found, before = load(f"hf:{clip}"), loaded_from("CLIP")
    assert found.weights != before.weights
    assert keys(found)[1:] == keys(before)[1:]
    assert found.encoder.identity != before.encoder.identity


def test_an_activation_changes_the_key_of_the_weights(clip, loaded_from):
    config = json.loads((clip / "config.json").read_text())
    config["vision_config"]["hidden_act"] = "gelu"
    (clip / "config.json").write_text(json.dumps(config))
    assert load(f"hf:{clip}").weights != loaded_from("CLIP").weights


def test_a_setting_of_the_image_processor_changes_the_key_of_the_preprocessing(clip, loaded_from):
    edit_json(clip / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    found, before = load(f"hf:{clip}"), loaded_from("CLIP")
    assert found.preprocess != before.preprocess
    assert (found.weights, found.text) == (before.weights, before.text)


@pytest.mark.parametrize("kind", Image.Resampling)
def test_every_way_of_resizing_is_that_of_pillow(kind, clip):
    """With torchvision before 0.27, transformers resizes bicubically in place of Lanczos, without an error."""
    edit_json(clip / "preprocessor_config.json", resample=int(kind), image_mean=[0.0] * 3, image_std=[1.0] * 3)
    found = load(f"hf:{clip}").encoder.preprocess(photo(80, 80))
    expected = np.asarray(photo(80, 80).resize((32, 32), kind), dtype=np.float32).transpose(2, 0, 1) / 255
    rounding = 1 / 255 if kind.name in {"BILINEAR", "BICUBIC"} else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding + 1e-6)


def test_a_processor_that_can_not_resize_with_pillow_is_refused(clip, monkeypatch):
    edit_json(clip / "preprocessor_config.json", resample=int(Image.Resampling.LANCZOS))
    only = hf.CLIPImageProcessor.from_pretrained(clip)
    monkeypatch.setattr(hf.AutoImageProcessor, "from_pretrained", lambda *_, **__: only)
    fails(
        f"hf:{clip}", "its image processor, CLIPImageProcessor, resizes by LANCZOS with torchvision, which gives other"
    )


def test_a_setting_of_the_tokenizer_changes_the_key_of_the_texts(clip, loaded_from):
    edit_json(clip / "tokenizer_config.json", model_max_length=20)
    found, before = load(f"hf:{clip}"), loaded_from("CLIP")
    assert found.text != before.text
    assert keys(found)[:2] == keys(before)[:2]
    assert found.encoder.too_long(["x" * 18, "x" * 19]) == [False, True]


def test_low_precision_runs_under_autocast(folder_of, loaded_from):
    exact, rough = our_features(loaded_from("CLIP")), our_features(load(f"hf:{folder_of('CLIP')}", precision="bf16"))
    for full, low in zip(exact, rough, strict=True):
        assert 1e-6 < float((full - low).abs().max()) < 0.05


def test_compiled_towers_are_used_at_the_models_precision(folder_of, monkeypatch):
    calls = []

    def compile_tower(tower, probe, *, precision, arithmetic):
        with torch.inference_mode(), arithmetic():
            assert tower(probe).shape[0] == 2
        calls.append(precision)
        return lambda inputs: tower(inputs) * len(calls)

    monkeypatch.setattr(compilation, "compile_tower", compile_tower)
    plain, compiled = (load(f"hf:{folder_of('CLIP')}", precision="bf16", compiled=only) for only in (False, True))
    assert calls == ["bf16", "bf16"]
    assert compiled.notes == ()
    pixels = plain.encoder.preprocess(photo())[None]
    for encode in ("encode_image", "encode_text"):
        inputs = pixels if encode == "encode_image" else TEXTS
        with torch.inference_mode():
            assert torch.equal(getattr(compiled.encoder, encode)(inputs), 2 * getattr(plain.encoder, encode)(inputs))


def test_a_tower_that_cannot_be_compiled_is_reported(folder_of, monkeypatch):
    def compile_tower(*_, **__):
        raise CannotCompileError("no compiler")

    monkeypatch.setattr(compilation, "compile_tower", compile_tower)
    notes = load(f"hf:{folder_of('CLIP')}", compiled=True).notes
    assert notes == tuple(f"its {tower} tower is not compiled: no compiler" for tower in ("image", "text"))


@pytest.mark.parametrize("family", ["CLIP", "MetaCLIP 2", "SigLIP", "SigLIP 2 NaFlex", "Chinese-CLIP"])
def test_dense_features_use_the_mean_and_deviation_of_the_processor(family, loaded_from):
    encoder = loaded_from(family).encoder
    processor = built(family)[2]
    pixels = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    found = encoder.encode_dense(pixels)
    assert found.shape == (2, SIZE["hidden_size"], 3, 2)
    expected = dense_encoder(encoder._model, mean=processor.image_mean, std=processor.image_std)(pixels)
    assert torch.equal(found, expected)


def test_a_convolutional_tower_has_the_map_of_its_last_stage_in_cells_of_16_pixels(loaded_from):
    with torch.inference_mode():
        features = loaded_from("ALIGN").encoder.encode_dense(torch.rand(1, 3, 64, 96))
    assert features.shape[2:] == (4, 6)
    assert features.std() > 0


# open_clip and transformers


def copied_weights(clip, settings):
    """Return the parameters of open_clip's CLIP under the names of transformers."""
    found = {
        "logit_scale": clip.logit_scale,
        "visual_projection.weight": clip.visual.proj.T,
        "text_projection.weight": clip.text_projection.T,
        "vision_model.embeddings.class_embedding": clip.visual.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": clip.visual.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": clip.visual.positional_embedding,
        "text_model.embeddings.token_embedding.weight": clip.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": clip.positional_embedding,
    }
    norms = {
        "vision_model.pre_layrnorm": clip.visual.ln_pre,
        "vision_model.post_layernorm": clip.visual.ln_post,
        "text_model.final_layer_norm": clip.ln_final,
    }
    for tower, blocks in (("vision", clip.visual.transformer.resblocks), ("text", clip.transformer.resblocks)):
        for i, block in enumerate(blocks):
            place = f"{tower}_model.encoder.layers.{i}"
            parts = zip("qkv", block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True)
            for letter, weight, bias in parts:
                found |= {
                    f"{place}.self_attn.{letter}_proj.weight": weight,
                    f"{place}.self_attn.{letter}_proj.bias": bias,
                }
            norms |= {
                f"{place}.self_attn.out_proj": block.attn.out_proj,
                f"{place}.layer_norm1": block.ln_1,
                f"{place}.layer_norm2": block.ln_2,
                f"{place}.mlp.fc1": block.mlp.c_fc,
                f"{place}.mlp.fc2": block.mlp.c_proj,
            }
    for place, module in norms.items():
        found |= {f"{place}.weight": module.weight, f"{place}.bias": module.bias}
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def test_the_weights_of_open_clip_have_the_same_features_on_the_same_pixels(tmp_path):
    torch.manual_seed(0)
    own = clip_tokenizer()
    vision = {"image_size": 32, "layers": 2, "width": 16, "patch_size": 16, "head_width": 8, "mlp_ratio": 2}
    words = {"context_length": 77, "vocab_size": len(own), "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2}
    other = open_clip.CLIP(embed_dim=12, vision_cfg=vision, text_cfg=words, quick_gelu=True).eval()
    for parameter in other.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    special = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id}
    config = hf.CLIPConfig(text_config=text(own, **special), vision_config=IMAGE, projection_dim=12)
    save((config, own, built("CLIP")[2]), tmp_path)
    save_file(copied_weights(other, config), tmp_path / "model.safetensors", metadata={"format": "pt"})
    encoder = load(f"hf:{tmp_path}").encoder
    pixels = torch.randn(4, 3, 32, 32)
    tokens = own(TEXTS, padding="max_length", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        torch.testing.assert_close(encoder.encode_image(pixels), other.encode_image(pixels), rtol=1e-5, atol=1e-5)
        # open_clip pools the largest token, which is the end of the text.
        torch.testing.assert_close(encoder.encode_text(TEXTS), other.encode_text(tokens), rtol=1e-5, atol=1e-5)
    assert encoder.scale == pytest.approx(float(other.logit_scale.detach().exp()))


# input that is refused


def fails(spec, message):
    with pytest.raises(ModelError, match=message) as error:
        load(spec)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("model hf:")


def test_missing_parameters_are_never_random(clip):
    edit_weights(clip, lambda parameters: parameters.pop("visual_projection.weight"))
    fails(f"hf:{clip}", "does not fit CLIPModel: it lacks 1 parameters, first 'visual_projection.weight'; a model that")


def test_parameters_of_another_shape_are_refused(clip):
    def change(parameters):
        parameters["text_projection.weight"] = torch.zeros(3, 5)

    edit_weights(clip, change)
    fails(f"hf:{clip}", "it has 1 parameters of another shape, first 'text_projection.weight'")


def test_parameters_that_the_model_does_not_have_are_refused(clip):
    def change(parameters):
        parameters["vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(2, 16)

    edit_weights(clip, change)
    fails(f"hf:{clip}", r"it has 1 parameters that are not part of the model, first 'vision_model.*lora_A.weight'")


def test_old_checkpoints_have_position_numbers_and_unused_heads(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("Chinese-CLIP"), tmp_path / "model")

    def change(parameters):
        parameters["text_model.embeddings.position_ids"] = torch.arange(512)[None]
        parameters["text_model.pooler.dense.weight"] = torch.zeros(16, 16)
        parameters["text_model.pooler.dense.bias"] = torch.zeros(16)

    edit_weights(folder, change)
    notes = load(f"hf:{folder}").notes
    assert notes[0] == "2 parameters are not used by ChineseCLIPModel, first 'text_model.pooler.dense.bias'"


def test_parameters_that_are_nan_are_refused(clip):
    edit_weights(clip, lambda parameters: parameters["logit_scale"].fill_(torch.nan))
    fails(f"hf:{clip}", "1 of [0-9]+ parameters are NaN or infinite, first 'logit_scale': the training diverged")


def test_a_truncated_file_is_refused(clip):
    content = (clip / "model.safetensors").read_bytes()
    (clip / "model.safetensors").write_bytes(content[: len(content) // 2])
    fails(f"hf:{clip}", "cannot be loaded, it is damaged or truncated")


def test_a_pickle_that_runs_code_is_refused(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Spiteful:
        def __reduce__(self):
            return (open, ("pwned", "w"))

    (clip / "model.safetensors").unlink()
    torch.save({"logit_scale": Spiteful()}, clip / "pytorch_model.bin")
    fails(f"hf:{clip}", "cannot be loaded")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", r"has no config\.json; expected a folder that save_pretrained wrote"),
        ("model.safetensors", r"has no weights; expected model\.safetensors"),
        ("preprocessor_config.json", r"has no preprocessor_config\.json; copy it from the model that this one was"),
        ("tokenizer.json", "has no tokenizer files; copy them from the model that this one was trained from"),
    ],
)
def test_a_folder_must_be_complete(clip, gone, message):
    (clip / gone).unlink()
    fails(f"hf:{clip}", message)


def test_every_shard_must_be_there(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("CLIP"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    built("CLIP")[0].save_pretrained(folder, max_shard_size="20KB")
    gone = min(folder.glob("model-*.safetensors"))
    gone.unlink()
    fails(f"hf:{folder}", f"lacks 1 of the files that its index names, first {gone.name}")


def other_model(folder, config):
    save((bert_tokenizer(), hf.CLIPImageProcessor()), folder)
    config.save_pretrained(folder)
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (hf.BertConfig(), "BertModel of model type 'bert' has no features of images and texts in a common space"),
        (hf.CLIPVisionConfig(), "CLIPVisionModel of model type 'clip_vision_model' has no features of images and"),
        (hf.LlavaConfig(), "LlavaModel of model type 'llava' has no features of texts in a common space; expected a"),
    ],
    ids=["text model", "image model", "language model that sees"],
)
def test_other_kinds_of_models_are_refused(config, message, tmp_path):
    fails(f"hf:{other_model(tmp_path, config)}", message)


def test_a_model_without_a_known_scale_is_refused(clip, monkeypatch):
    monkeypatch.delattr(hf.CLIPModel, "forward")
    original = hf.CLIPModel.from_pretrained

    def without_scale(*arguments, **options):
        model, found = original(*arguments, **options)
        del model.logit_scale
        return model, found

    monkeypatch.setattr(hf.CLIPModel, "from_pretrained", without_scale)
    fails(f"hf:{clip}", "CLIPModel has neither logit_scale nor temperature, so its logits are not known; load it in")


def test_an_unknown_model_type_is_refused(clip):
    edit_json(clip / "config.json", model_type="siglip9")
    fails(f"hf:{clip}", r"has no model type 'siglip9' \(did you mean 'siglip'.*; upgrade it, or load the model in your")


def test_quantised_weights_are_refused(clip):
    edit_json(clip / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    fails(f"hf:{clip}", r"its weights are quantised \(bitsandbytes\); save it as fp32, bf16 or fp16")


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_config_is_refused(clip, content):
    (clip / "config.json").write_text(content)
    fails(f"hf:{clip}", r"config\.json")


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json"])
def test_a_damaged_processor_or_tokenizer_is_refused(clip, name):
    (clip / name).write_text("{")
    fails(f"hf:{clip}", "its (image processor|tokenizer) cannot be used: ")


def test_folders_of_adapters_say_that_they_must_be_merged(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    fails(f"hf:{tmp_path}", r"holds an adapter without its base model: write BASE\+adapter:")


def test_a_folder_says_which_spec_to_write(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"but a config.json of transformers: write hf:{clip}$"):
        load(f"local-dir:{clip}")
    with pytest.raises(ModelError, match="but a folder exists: write hf:clip"):
        load("clip")
    (tmp_path / "open_clip_config.json").write_text("{}")
    fails(f"hf:{tmp_path}", f"is a folder of open_clip: write local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:no/such/folder", "no folder no/such/folder; write hf:FOLDER or hf:ORGANISATION/REPOSITORY"),
        ("hf:clip", "no folder clip; write hf:FOLDER"),
    ],
)
def test_a_folder_must_exist(spec, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(spec, message)


def test_a_file_is_not_a_model(clip):
    fails(f"hf:{clip}/config.json", "config.json is a file; expected a folder or a repository")


def test_a_folder_has_no_revisions(clip):
    fails(f"hf:{clip}?revision=v2", "a folder has no revisions; remove \\?revision=v2")


# code of repositories

REMOTE = """
import pathlib
pathlib.Path("ran").touch()
from transformers import CLIPConfig, CLIPModel
class MineConfig(CLIPConfig):
    model_type = "mine"
class MineModel(CLIPModel):
    config_class = MineConfig
"""


@pytest.fixture
def remote(clip, monkeypatch, tmp_path):
    """A CLIP folder whose model class is in a Python file of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    (clip / "mine.py").write_text(REMOTE)
    edit_json(
        clip / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "mine.MineConfig", "AutoModel": "mine.MineModel"},
    )
    return clip


def test_code_of_a_repository_does_not_run_by_itself(remote, tmp_path):
    fails(f"hf:{remote}", r"model type 'mine' would run Python code of its repository; .* with \?remote_code=true")
    fails(f"hf:{remote}?remote_code=false", "would run Python code of its repository")
    assert not (tmp_path / "ran").exists()


def test_code_of_a_repository_runs_if_the_spec_allows_it(remote, loaded_from, tmp_path):
    loaded = load(f"hf:{remote}?remote_code=true")
    assert (tmp_path / "ran").exists()
    for found, expected in zip(our_features(loaded), our_features(loaded_from("CLIP")), strict=True):
        torch.testing.assert_close(found, expected)
    (remote / "mine.py").write_text(f"{REMOTE}\n# changed")
    assert load(f"hf:{remote}?remote_code=true").weights != loaded.weights


def test_a_model_that_transformers_knows_never_runs_its_own_code(clip, tmp_path, monkeypatch, loaded_from):
    monkeypatch.chdir(tmp_path)
    (clip / "mine.py").write_text(REMOTE)
    edit_json(clip / "config.json", auto_map={"AutoModel": "mine.MineModel"})
    assert load(f"hf:{clip}").weights == loaded_from("CLIP").weights
    assert not (tmp_path / "ran").exists()


# the hub


@pytest.fixture
def repository(clip, tmp_path, monkeypatch):
    """Serve the CLIP folder as a repository; return the cache's folder and the list of what was asked for."""
    cached, asked = tmp_path / "cache", []
    cached.mkdir()

    def fetch(name, files, *, revision=None):
        assert (name, revision) == ("org/repo", "v2")
        (file,) = files
        if not (cached / file).exists():
            asked.append(file)
            if not (clip / file).exists():
                raise HubError(f"{name} has none of {file}")
            shutil.copy(clip / file, cached / file)
        return cached / file

    monkeypatch.setattr(folder_module, "cached_or_fetched", fetch)
    monkeypatch.setattr(folder_module, "files_of", lambda *_, revision: [path.name for path in clip.iterdir()])
    return cached, asked


def test_a_repository_is_fetched_once(repository, clip, loaded_from):
    _, asked = repository
    (clip / "pytorch_model.bin").touch()
    (clip / "README.md").touch()
    assert keys(load("hf:org/repo?revision=v2")) == keys(loaded_from("CLIP"))
    wanted = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert set(asked) == wanted
    assert asked[0] == "config.json"
    asked.clear()
    load("hf:org/repo?revision=v2")
    assert asked == []


def test_no_weights_are_fetched_of_another_kind_of_model(repository, clip):
    hf.BertConfig().save_pretrained(clip)
    fails(r"hf:org/repo?revision=v2", "BertModel of model type 'bert' has no features of images and texts")
    assert repository[1] == ["config.json"]


def test_a_repository_of_open_clip_says_which_spec_to_write(repository, clip):
    (clip / "config.json").unlink()
    fails("hf:org/repo?revision=v2", "for a model of open_clip write hf-hub:org/repo; give a folder")


def test_without_the_hub_a_repository_ends_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "reachable", lambda: False)
    fails("hf:org/repo", "org/repo is not cached, and the hub at .* cannot be reached; give a folder")


def test_a_cache_without_weights_needs_the_hub(monkeypatch, clip):
    monkeypatch.setattr(folder_module, "cached_or_fetched", lambda *_, **__: clip / "config.json")
    monkeypatch.setattr(hub, "reachable", lambda: False)
    assert load("hf:org/repo").notes == ()
    (clip / "model.safetensors").unlink()
    fails("hf:org/repo", "org/repo is not completely cached, and the hub at .* cannot be reached; give a folder")
