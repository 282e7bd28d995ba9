from __future__ import annotations

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.open_clip import recipe as recipe_module
from pytest_clip_robust.models.open_clip.recipe import default_tag, recipe_for
from pytest_clip_robust.models.protocols import KnowsItsContext
from pytest_clip_robust.models.spec import ModelSpec


def load(text, precision="fp32"):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision=precision)


def recipe_of(text):
    return recipe_for(ModelSpec.parse(str(text)))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Make the hub unreachable and the cache empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("pytest_clip_robust.system.hub.reachable", lambda: False)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Replace the weights of every tag by an empty file, which is enough to see how the model would be built."""
    weights = tmp_path / "published.safetensors"
    weights.touch()
    monkeypatch.setattr(recipe_module, "cached_or_fetched", lambda *_: weights)
    return weights


@pytest.fixture
def photo():
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_trained_checkpoint_gives_the_features_of_open_clip_itself(config, checkpoint, parameters, photo):
    loaded = load(f"{config}@{checkpoint}")
    plain, _, preprocess = open_clip.create_model_and_transforms("tiny-clip")
    plain.load_state_dict(parameters)
    plain.eval()
    pixels = preprocess(photo)
    assert torch.equal(loaded.encoder.preprocess(photo), pixels)
    with torch.inference_mode():
        theirs = plain.encode_image(pixels[None])
        assert torch.allclose(loaded.encoder.encode_image(pixels[None]), theirs, atol=1e-6, rtol=1e-5)
        tokens = open_clip.get_tokenizer("tiny-clip")(["a photo of a cat."])
        texts = loaded.encoder.encode_text(["a photo of a cat."])
        assert torch.allclose(texts, plain.encode_text(tokens), atol=1e-5, rtol=1e-5)
    assert loaded.encoder.scale == pytest.approx(float(plain.logit_scale.exp()))
    assert loaded.encoder.bias == 0


def test_the_digest_is_of_the_content_not_of_the_file(config, checkpoint, parameters, tmp_path):
    save_file(parameters, tmp_path / "same.safetensors")
    torch.save({f"module._orig_mod.{name}": value for name, value in parameters.items()}, tmp_path / "same.pt")
    changed = dict(parameters, logit_scale=parameters["logit_scale"] + 1)
    torch.save(changed, tmp_path / "other.pt")
    digest = load(f"{config}@{checkpoint}").weights
    assert load(f"{config}@{tmp_path}/same.safetensors").weights == digest
    assert load(f"{config}@{tmp_path}/same.pt").weights == digest
    assert load(f"{config}@{tmp_path}/other.pt").weights != digest


def test_the_activation_changes_features_and_digest(config, checkpoint, photo):
    gelu = load(f"{config}@{checkpoint}?quick_gelu=false")
    quick = load(f"{config}@{checkpoint}?quick_gelu=true")
    assert gelu.weights == load(f"{config}@{checkpoint}").weights != quick.weights
    pixels = gelu.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        assert not torch.equal(gelu.encoder.encode_image(pixels), quick.encoder.encode_image(pixels))


def test_low_precision_is_near_and_not_equal(config, checkpoint, photo):
    full, half = load(f"{config}@{checkpoint}"), load(f"{config}@{checkpoint}", precision="bf16")
    pixels = full.encoder.preprocess(photo)[None]
    with torch.inference_mode():
        features, rounded = full.encoder.encode_image(pixels), half.encoder.encode_image(pixels).float()
    assert 0 < (features - rounded).norm() / features.norm() < 0.02
    assert (full.precision, half.precision) == ("fp32", "bf16")


def test_a_local_folder_is_loaded_with_its_own_preprocessing(folder, config, checkpoint, photo):
    loaded, other = load(f"local-dir:{folder}"), load(f"{config}@{checkpoint}")
    assert not torch.equal(loaded.encoder.preprocess(photo), other.encoder.preprocess(photo))
    assert loaded.preprocess != other.preprocess
    assert loaded.text == other.text


def test_a_local_folder_may_have_one_file_of_another_name(folder):
    (folder / "open_clip_model.safetensors").rename(folder / "best.safetensors")
    assert load(f"local-dir:{folder}").weights
    shutil.copy(folder / "best.safetensors", folder / "last.safetensors")
    with pytest.raises(ModelError, match=r"has best\.safetensors, last\.safetensors; expected one file"):
        load(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "open_clip_model.safetensors").unlink(), "has no weights; expected one file"),
        (lambda f: (f / "open_clip_config.json").unlink(), r"no file .*open_clip_config\.json"),
        (lambda f: (f / "open_clip_config.json").write_text("{"), "expected JSON"),
        (lambda f: (f / "open_clip_config.json").write_text("{}"), "has no 'model_cfg'"),
        (lambda f: (f / "open_clip_config.json").write_text('{"model_cfg": {}}'), "open_clip cannot build"),
    ],
)
def test_a_broken_local_folder_is_one_line(folder, break_it, message):
    break_it(folder)
    with pytest.raises(ModelError, match=message) as error:
        load(f"local-dir:{folder}")
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_architecture_names_what_does_not_fit(config, parameters, tmp_path):
    wide = dict(parameters)
    wide["visual.proj"] = torch.zeros(64, 99)
    del wide["visual.class_embedding"]
    wide["visual.stranger"] = torch.zeros(1)
    torch.save(wide, tmp_path / "wide.pt")
    with pytest.raises(ModelError, match="does not fit tiny-clip") as error:
        load(f"{config}@{tmp_path}/wide.pt")
    for words in (
        "lacks 1 parameters, first 'visual.class_embedding'",
        "unknown 1 parameters, first 'visual.stranger'",
        "first 'visual.proj' with (64, 99) for (64, 32)",
    ):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_resolution_is_noted(checkpoint, trained, tmp_path):
    config = json.loads((trained / "tiny-clip.json").read_text())
    config["vision_cfg"]["image_size"] = 64
    (tmp_path / "tiny-clip-64.json").write_text(json.dumps(config))
    shutil.copy(checkpoint, tmp_path / "model.pt")
    (note,) = load(f"{tmp_path}/tiny-clip-64.json@{tmp_path}/model.pt").notes
    assert note == (
        "visual.positional_embedding of the checkpoint has (5, 64) and was interpolated to (17, 64): it was trained at "
        "another image size; write ?image_size=32 to measure at that one"
    )


def test_random_weights_are_never_evaluated(config):
    with pytest.raises(
        ModelError, match=r"no published weights for tiny-clip, and a randomly initialised model is never evaluated"
    ):
        load(config)


def test_a_config_may_not_change_the_meaning_of_a_known_name(config, checkpoint, tmp_path):
    load(f"{config}@{checkpoint}")
    other = json.loads(config.read_text())
    other["embed_dim"] = 16
    (tmp_path / "tiny-clip.json").write_text(json.dumps(other))
    with pytest.raises(ModelError, match="open_clip has a different architecture 'tiny-clip'; rename the file"):
        load(f"{tmp_path}/tiny-clip.json@{checkpoint}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ViT-B32", "no architecture 'ViT-B32' \\(did you mean 'ViT-B-32'"),
        ("ViT-B-32@opena", "no tag 'opena' \\(did you mean 'openai'\\?\\)"),
        ("ViT-B-32@runs/none.pt?quick_gelu=true", "no checkpoint runs/none.pt"),
        ("nowhere.json@runs/none.pt", "no file nowhere.json"),
        ("local-dir:nowhere", "no folder nowhere"),
    ],
)
def test_what_does_not_exist_is_named(spec, message):
    with pytest.raises(ModelError, match=message):
        load(spec)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("spec", ["ViT-B-32", "ViT-B-32@openai", "ViT-B-16-SigLIP@webli", "hf-hub:org/repo"])
def test_a_hub_out_of_reach_names_the_ways_out(spec):
    with pytest.raises(ModelError, match=r"not cached, and the hub .* cannot be reached; give a checkpoint .* or"):
        load(spec)


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (["laion400m_e32", "openai"], "openai"),
        (["laion400m_e32", "datacomp_xl", "laion2b_s34b"], "laion2b_s34b"),
        (["mine", "yours"], "mine"),
    ],
)
def test_the_default_tag_follows_the_policy(tags, chosen):
    assert default_tag(tags) == chosen


@pytest.mark.usefixtures("published")
def test_the_default_tag_is_reported_and_its_activation_used():
    recipe = recipe_of("ViT-B-32")
    assert recipe.overrides == {"quick_gelu": True}
    assert recipe.notes[0].startswith("no weights named: took ViT-B-32@openai; its tags are openai, laion400m_e31")
    assert recipe.notes[1] == (
        "ViT-B-32@openai was trained with QuickGELU, unlike ViT-B-32's own config: took QuickGELU"
    )


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("spec", "overrides"),
    [
        ("ViT-B-32@laion2b_s34b_b79k", {}),
        ("ViT-B-32-quickgelu@openai", {}),
        ("ViT-B-32@metaclip_400m", {"quick_gelu": True}),
    ],
)
def test_every_tag_gets_the_activation_it_was_trained_with(spec, overrides):
    assert recipe_of(spec).overrides == overrides


@pytest.mark.usefixtures("published")
def test_the_activation_of_every_published_model_is_determined():
    for name, tag in open_clip.list_pretrained():
        overrides = recipe_of(f"{name}@{tag}").overrides
        built = overrides.get("quick_gelu", open_clip.get_model_config(name).get("quick_gelu", False))
        assert built == open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False), (name, tag)


def test_a_bare_checkpoint_of_an_architecture_with_both_activations_must_state_one(tmp_path):
    with pytest.raises(ModelError, match=r"no checkpoint .*model\.pt"):  # a wrong path is said first
        recipe_of(f"ViT-B-32@{tmp_path}/model.pt")
    (tmp_path / "model.pt").touch()
    with pytest.raises(ModelError, match=r"nothing states which .* write ViT-B-32@.*\?quick_gelu=true"):
        recipe_of(f"ViT-B-32@{tmp_path}/model.pt")
    assert recipe_of(f"ViT-B-32@{tmp_path}/model.pt?quick_gelu=true").overrides == {"quick_gelu": True}
    assert recipe_of(f"ViT-B-32@{tmp_path}/model.pt?quick_gelu=false").overrides == {}
    assert recipe_of(f"ViT-B-32-quickgelu@{tmp_path}/model.pt").overrides == {}


@pytest.mark.parametrize(
    ("params", "outcome"),
    [
        ("model: ViT-B-32\npretrained: \nforce_quick_gelu: False", {}),
        ("model: ViT-B-32\npretrained: \nforce_quick_gelu: True", {"quick_gelu": True}),
        ("model: ViT-B-32\npretrained: laion2b_s34b_b79k\nforce_quick_gelu: False", {}),
        ("model: ViT-B-32-quickgelu\npretrained: openai\nforce_quick_gelu: False", {"quick_gelu": True}),
        ("model: ViT-B-32\npretrained: openai\nforce_quick_gelu: False", None),
    ],
)
def test_a_training_run_states_its_activation_if_it_can(tmp_path, params, outcome):
    (tmp_path / "params.txt").write_text(params)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch_3.pt").touch()
    spec = f"ViT-B-32@{tmp_path}/checkpoints/epoch_3.pt"
    if outcome is None:  # open_clip 2 and 3 trained differently, and the run does not record its version
        with pytest.raises(ModelError, match="nothing states which"):
            recipe_of(spec)
    else:
        assert recipe_of(spec).overrides == outcome


def test_a_training_run_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "params.txt").write_text("model: ViT-L-14\npretrained: ")
    with pytest.raises(ModelError, match=r"params\.txt says that it was trained as ViT-L-14"):
        recipe_of(f"ViT-B-32@{tmp_path}/checkpoints/epoch_3.pt")


def test_a_checkpoint_takes_the_preprocessing_of_its_run_or_of_its_architecture(tmp_path):
    bare = recipe_of(f"ViT-B-16-SigLIP@{tmp_path}/model.pt")
    assert bare.preprocess["mean"] == (0.5, 0.5, 0.5)
    assert bare.preprocess["resize_mode"] == "squash"
    (tmp_path / "params.txt").write_text(
        "model: ViT-B-16-SigLIP\npretrained: webli\nimage_mean: [0.1, 0.2, 0.3]\nimage_resize_mode: longest\n"
    )
    run = recipe_of(f"ViT-B-16-SigLIP@{tmp_path}/checkpoints/epoch_1.pt")
    assert run.preprocess["mean"] == [0.1, 0.2, 0.3]
    assert run.preprocess["resize_mode"] == "longest"
    assert run.preprocess["std"] == (0.5, 0.5, 0.5)


def test_a_hub_repository_is_fetched_file_by_file_and_read_as_a_folder(folder, monkeypatch):
    asked = []

    def cached(repository, files):
        asked.append((repository, tuple(files)))
        return next(folder / file for file in files if (folder / file).is_file())

    monkeypatch.setattr(recipe_module, "cached_or_fetched", cached)
    assert recipe_of("hf-hub:org/repo").checkpoint == folder / "open_clip_model.safetensors"
    assert asked[0] == ("org/repo", ("open_clip_config.json",))
    assert asked[-1][1][0] == "open_clip_model.safetensors"


def long_text(words):
    return " ".join(["cat"] * words)


def test_texts_longer_than_the_context_are_recognised(config, checkpoint):
    """The context has 16 tokens, two of which mark start and end."""
    encoder = load_model(ModelSpec.parse(f"{config}@{checkpoint}"), device="cpu", precision="fp32").encoder
    assert isinstance(encoder, KnowsItsContext)
    texts = [long_text(14), long_text(15), "", long_text(40)]
    assert encoder.too_long(texts) == [False, True, False, True]
    just, more = encoder.encode_text([long_text(15), long_text(16)])
    assert torch.equal(just, more)  # tokens beyond the context are ignored
    fits, cut = encoder.encode_text([long_text(13), long_text(14)])
    assert not torch.equal(fits, cut)


def test_tokenizers_of_transformers_count_before_they_truncate():
    encoder = load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32").encoder
    tokens = encoder._tokenizer
    fits = next(n for n in range(200, 0, -1) if not encoder.too_long([long_text(n)])[0])
    assert fits == tokens.context_length - 2
    assert not torch.equal(tokens(long_text(fits - 1)), tokens(long_text(fits)))
    assert torch.equal(tokens(long_text(fits)), tokens(long_text(fits + 1)))


def test_attention_is_fused_and_the_global_setting_is_restored(config, checkpoint):
    """MultiheadAttention's fast path on a CPU would write all attention weights to memory."""
    encoder = load(f"{config}@{checkpoint}").encoder
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        encoder.encode_image(torch.rand(2, 3, 32, 32))
        encoder.encode_text(["a photo of a cat."])
    called = {event.key: event.count for event in profile.key_averages()}
    assert called["aten::scaled_dot_product_attention"] == 4  # two layers per tower
    assert "aten::_softmax" not in called
    assert torch.backends.mha.get_fastpath_enabled() == before
