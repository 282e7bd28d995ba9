"""Model folders and hub repositories: which file is used, and nothing of them is executed or guessed in silence."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from training_runs import TINY, untrained_run

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.open_clip import recipe as recipe_module
from pytest_clip_robust.models.open_clip.recipe import WEIGHT_FILES, recipe_for
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.hub import HubError

SIGLIP_LIKE = {
    **TINY,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "vit_tiny_patch16_siglip_224",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 32000,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


def recipe_of(text):
    return recipe_for(ModelSpec.parse(str(text)))


def changed(parameters, by):
    return {name: value + by if name.endswith("ln_pre.bias") else value for name, value in parameters.items()}


def save(parameters, path):
    save_file(parameters, path) if path.suffix == ".safetensors" else torch.save(parameters, path)


@pytest.fixture
def edit(folder):
    """Return a function that changes the folder's config."""

    def change(**changes):
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        config["model_cfg"] |= changes
        path.write_text(json.dumps(config))

    return change


def test_the_order_of_files_is_that_of_open_clip(folder, parameters):
    """Open_clip itself is asked which file it would load, for every set of names."""
    for name in WEIGHT_FILES:
        save(parameters, folder / name)
    for left in range(len(WEIGHT_FILES)):
        expected = os.path.basename(open_clip.factory._find_checkpoint_in_dir(folder))  # noqa: PTH119
        assert expected == WEIGHT_FILES[left]
        assert recipe_of(f"local-dir:{folder}").checkpoint.name == expected
        (folder / expected).unlink()


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (("model.safetensors", "open_clip_pytorch_model.bin"), "open_clip_pytorch_model.bin"),
        (("pytorch_model.bin", "open_clip_pytorch_model.pth"), "open_clip_pytorch_model.pth"),
        (("ema.safetensors", "open_clip_model.safetensors"), "open_clip_model.safetensors"),
        (("epoch_3.pt", "model.safetensors"), "model.safetensors"),
    ],
)
def test_a_folder_with_other_weights_says_which_were_used(folder, parameters, names, used):
    (folder / "open_clip_model.safetensors").unlink()
    for by, name in enumerate(names):
        save(changed(parameters, by), folder / name)
    (other,) = {*names} - {used}
    loaded = load(f"local-dir:{folder}")
    (note,) = loaded.notes
    assert note == f"{folder} also has {other}: used {used}, as open_clip does; choose another with @FILE"
    assert loaded.weights == load(f"local-dir:{folder}@{used}").weights
    assert loaded.weights != load(f"local-dir:{folder}@{other}").weights
    assert load(f"local-dir:{folder}@{other}").notes == ()


def test_files_of_a_trainer_are_not_weights(folder):
    for name in ("optimizer.bin", "scheduler.pt", "training_args.bin", "random_states_0.pth", "scaler.pt"):
        (folder / name).write_bytes(b"")
    assert load(f"local-dir:{folder}").notes == ()


def test_a_fine_tune_of_a_folder_is_a_file_anywhere(folder, parameters, tmp_path_factory, monkeypatch, photo):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    torch.save({"args": argparse.Namespace(), "state_dict": changed(parameters, 1)}, elsewhere / "tuned.pt")
    monkeypatch.chdir(elsewhere)
    parent, tuned = load(f"local-dir:{folder}"), load(f"local-dir:{folder}@tuned.pt")
    assert tuned.weights != parent.weights
    assert (tuned.preprocess, tuned.text) == (parent.preprocess, parent.text)
    assert load(f"local-dir:{folder}@{elsewhere}/tuned.pt").weights == tuned.weights
    assert torch.equal(tuned.encoder.preprocess(photo), parent.encoder.preprocess(photo))
    assert str(ModelSpec.parse(f"local-dir:{folder}@tuned.pt")) == f"local-dir:{folder}@tuned.pt"


def test_a_file_that_is_here_and_in_the_folder_must_have_its_full_path(
    folder, parameters, tmp_path_factory, monkeypatch
):
    here = tmp_path_factory.mktemp("here")
    for place in (here, folder):
        torch.save(parameters, place / "tuned.pt")
    monkeypatch.chdir(here)
    with pytest.raises(ModelError, match=r"tuned\.pt exists here and in .*; write the full path of one"):
        load(f"local-dir:{folder}@tuned.pt")
    assert load(f"local-dir:{folder}@{here}/tuned.pt")
    with pytest.raises(ModelError, match=r"no checkpoint no\.pt, neither as a path nor in"):
        load(f"local-dir:{folder}@no.pt")


def test_a_folder_can_have_an_at_sign_in_its_name(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "a@b")
    assert load(f"local-dir:{tmp_path}/a@b").weights
    assert load(f"local-dir:{tmp_path}/a@b@open_clip_model.safetensors").weights


def test_a_run_of_a_folder_has_the_runs_options_and_the_folders_preprocessing(folder, tmp_path, photo):
    run = untrained_run(tmp_path / "run", "--force-image-size", "48", "--image-resize-mode", "squash", "--siglip")
    loaded = load(f"local-dir:{folder}@{run.checkpoint}")
    assert loaded.encoder.preprocess(photo).shape == (3, 48, 48)
    assert loaded.encoder.bias == pytest.approx(-10, abs=0.1)
    settings = loaded.encoder._clip.visual.preprocess_cfg
    assert settings["mean"] == [0.5] * 3
    assert settings["resize_mode"] == "squash"


def test_a_model_in_the_file_can_be_chosen(folder, parameters, tmp_path):
    torch.save({"state_dict": parameters, "state_dict_ema": changed(parameters, 1)}, tmp_path / "both.pt")
    raw, ema = (
        load(f"local-dir:{folder}@{tmp_path}/both.pt"),
        load(f"local-dir:{folder}@{tmp_path}/both.pt?weights=ema"),
    )
    assert raw.weights == load(f"local-dir:{folder}@open_clip_model.safetensors").weights != ema.weights
    assert raw.notes[0].startswith("the checkpoint also has state_dict_ema: used state_dict; write ?weights=ema")
    assert ema.notes == ()


@pytest.fixture
def hub(folder, monkeypatch):
    """Serve the folder as a repository; return the names that are missing in the cache."""
    missing = set()

    def cached(repository, files):
        for file in files:
            if (folder / file).is_file() and file not in missing:
                return folder / file
        raise HubError(f"{repository} has none of {', '.join(files)}")

    monkeypatch.setattr(recipe_module, "cached_or_fetched", cached)
    return missing


def test_a_fine_tune_of_a_repository_is_a_file_or_one_of_its_files(folder, parameters, hub, tmp_path_factory):
    tuned = tmp_path_factory.mktemp("tuned") / "tuned.pt"
    torch.save(changed(parameters, 1), tuned)
    parent = load("hf-hub:org/repo")
    assert load(f"hf-hub:org/repo@{tuned}").weights != parent.weights
    torch.save(changed(parameters, 2), folder / "epoch_2.pt")
    assert load("hf-hub:org/repo@epoch_2.pt").weights not in {parent.weights, load(f"hf-hub:org/repo@{tuned}").weights}
    assert ModelSpec.parse(f"hf-hub:org/repo@{tuned}").family == "repo"
    with pytest.raises(ModelError, match=r"no checkpoint no\.pt"):
        load("hf-hub:org/repo@no.pt")


def test_a_repository_of_transformers_says_which_spec_to_write(folder, hub):
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(
        ModelError, match=r"has none of open_clip_config\.json; for a model of transformers write hf:org/"
    ):
        load("hf-hub:org/repo")


def test_a_run_of_another_repository_is_refused(folder, hub, tmp_path):
    run = untrained_run(tmp_path / "run")
    params = run.checkpoint.parent.parent / "params.txt"
    params.write_text(params.read_text().replace("model: tiny-clip", "model: hf-hub:other/repo"))
    with pytest.raises(ModelError, match="trained as hf-hub:other/repo; write hf-hub:other/repo@"):
        load(f"hf-hub:org/repo@{run.checkpoint}")


def test_weights_of_another_name_in_a_repository_are_reported(folder, parameters, hub):
    save(parameters, folder / "model.safetensors")
    hub.add("open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    (note,) = load("hf-hub:org/repo").notes
    assert note.startswith("used model.safetensors of org/repo: org/repo has none of open_clip_model.safetensors")


@pytest.mark.parametrize("value", [True, 1, "true", "yes"])
@pytest.mark.parametrize("where", ["tokenizer_kwargs", "deeper"])
def test_a_folder_that_would_run_its_own_code_is_refused(folder, edit, value, where, tmp_path):
    kwargs = {"trust_remote_code": value} if where == "tokenizer_kwargs" else {"init": [{"trust_remote_code": value}]}
    text = TINY["text_cfg"] | {"hf_tokenizer_name": "org/repo", "tokenizer_kwargs": kwargs}
    edit(text_cfg=text)
    with pytest.raises(ModelError, match="sets trust_remote_code, so the model would run its own Python code: remove"):
        load(f"local-dir:{folder}")
    (tmp_path / "spiteful.json").write_text(json.dumps(TINY | {"text_cfg": text}))
    with pytest.raises(ModelError, match=r"spiteful\.json sets trust_remote_code"):
        load(f"{tmp_path}/spiteful.json@{folder}/open_clip_model.safetensors")


def test_a_tokenizer_that_needs_its_own_code_is_refused(folder, edit, tmp_path, monkeypatch):
    """Transformers would ask the user; here nobody may be there to answer."""
    monkeypatch.chdir(tmp_path)
    edit(text_cfg=TINY["text_cfg"] | {"hf_tokenizer_name": "org/repo"})
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}}))
    (folder / "mine.py").write_text("import pathlib; pathlib.Path('pwned').touch()\n")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json sets auto_map"):
        load(f"local-dir:{folder}")
    assert not (tmp_path / "pwned").exists()


def test_code_that_is_not_trusted_is_no_problem(folder, edit):
    edit(text_cfg=TINY["text_cfg"] | {"tokenizer_kwargs": {}})
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = None
    assert recipe_of(f"local-dir:{folder}")


def test_a_pipe_in_a_folder_is_refused(folder):
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a regular file"):
        load(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_cfg": None}, "has no 'model_cfg'"),
        ({"model_cfg": []}, "has no 'model_cfg'"),
        ({"model_cfg": TINY | {"text_cfg": None}}, "has text_cfg=None; expected an object"),
        ({"model_cfg": TINY | {"vision_cfg": [1]}}, r"has vision_cfg=\[1\]; expected an object"),
        ({"model_cfg": TINY | {"embed_dim": "many"}}, "open_clip cannot build"),
        ({"model_cfg": TINY | {"embed_dim": 10**15}}, "open_clip cannot build"),
        ({"model_cfg": TINY, "preprocess_cfg": [1]}, "open_clip cannot build"),
        ({"model_cfg": TINY, "preprocess_cfg": {"interpolation": "lanczos"}}, "its preprocessing .* is not valid"),
        ({"model_cfg": TINY, "preprocess_cfg": {"resize_mode": "stretch"}}, "its preprocessing .* is not valid"),
        ({"model_cfg": TINY, "preprocess_cfg": {"mean": "grey"}}, "preprocess"),
        ({"model_cfg": TINY, "preprocess_cfg": {"std": [0, 0, 0]}}, "preprocess"),
    ],
)
def test_a_damaged_config_is_one_line(folder, hub, config, message):
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for spec in (f"local-dir:{folder}", "hf-hub:org/repo"):
        with pytest.raises(ModelError, match=message) as error:
            load(spec)
        assert "\n" not in str(error.value)


def test_a_huge_config_is_refused_at_once(folder):
    with (folder / "open_clip_config.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match=r"open_clip_config\.json has 1,048,576 MiB; expected a config"):
        load(f"local-dir:{folder}")


def test_a_tokenizer_that_fails_is_one_line(folder, edit, monkeypatch):
    class Unpadded(open_clip.SimpleTokenizer):
        def __call__(self, texts, context_length=None):
            raise ValueError("Asking to pad but the tokenizer does not have a padding token")

    monkeypatch.setattr(open_clip, "get_tokenizer", lambda *_, **__: Unpadded())
    with pytest.raises(ModelError, match=r"its tokenizer cannot be loaded \(Asking to pad"):
        load(f"local-dir:{folder}")


@pytest.mark.parametrize("file", ["../../x.pt", "x" * 300 + ".pt", "a\\b.pt"])
def test_a_file_that_cannot_be_in_a_repository_is_one_line(folder, hub, file):
    with pytest.raises(ModelError, match="no checkpoint") as error:
        load(f"hf-hub:org/repo@{file}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name, tag in open_clip.list_pretrained() if tag == "webli"][:3])
def test_a_copy_of_a_published_config_has_its_preprocessing(tmp_path, name):
    (tmp_path / "copy-of-mine.json").write_text(json.dumps(open_clip.get_model_config(name)))
    recipe = recipe_of(f"{tmp_path}/copy-of-mine.json@{tmp_path}/model.pt")
    open_clip.factory._MODEL_CONFIGS.pop("copy-of-mine")
    open_clip.factory._MODEL_CONFIG_PATHS.pop()
    assert recipe.preprocess["mean"] == (0.5, 0.5, 0.5)
    assert recipe.preprocess["resize_mode"] == "squash"
    assert recipe.notes == ()


def test_a_config_of_a_family_has_its_preprocessing_and_says_so(tmp_path):
    (tmp_path / "mine-sl.json").write_text(json.dumps(SIGLIP_LIKE))
    recipe = recipe_of(f"{tmp_path}/mine-sl.json@{tmp_path}/model.pt")
    assert recipe.preprocess["mean"] == (0.5, 0.5, 0.5)
    (note,) = recipe.notes
    assert re.match("mine-sl does not state its preprocessing: used that of ViT-.*-SigLIP", note)


@pytest.mark.parametrize(
    ("name", "mean", "mode"),
    [
        ("ViT-B-16-SigLIP", 0.5, "squash"),
        ("ViT-SO400M-14-SigLIP2", 0.5, "squash"),
        ("ViT-L-14-CLIPA", 0.485, "squash"),
        ("MobileCLIP-S1", 0.0, "shortest"),
        ("PE-Core-B-16", 0.5, "squash"),
        ("ViT-B-32", None, None),
        ("EVA02-B-16", None, None),
        ("convnext_base_w", None, None),
        ("RN50", None, None),
    ],
)
def test_a_config_of_another_size_has_the_preprocessing_of_its_family(tmp_path, name, mean, mode):
    config = open_clip.get_model_config(name)
    config["embed_dim"] = 48
    config["vision_cfg"]["image_size"] = 96
    config["text_cfg"] |= {"layers": 2, "width": 64, "heads": 2}
    (tmp_path / f"small-{name}.json").write_text(json.dumps(config))
    recipe = recipe_of(f"{tmp_path}/small-{name}.json@{tmp_path}/model.pt")
    if mean is None:
        assert recipe.preprocess == {}
        assert recipe.notes == ()
    else:
        assert recipe.preprocess["mean"][0] == mean
        assert recipe.preprocess["resize_mode"] == mode
        assert "does not state its preprocessing: used that of" in recipe.notes[0]


def test_a_config_like_no_published_one_says_that_the_default_was_used(tmp_path):
    strange = TINY | {"text_cfg": TINY["text_cfg"] | {"no_causal_mask": True, "embed_cls": True, "pool_type": "max"}}
    (tmp_path / "strange.json").write_text(json.dumps(strange))
    recipe = recipe_of(f"{tmp_path}/strange.json@{tmp_path}/model.pt")
    assert recipe.notes == (
        "strange does not state its preprocessing, and resembles no published model: used OpenAI's",
    )


def test_a_folder_without_preprocessing_has_that_of_its_family(folder):
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": SIGLIP_LIKE}))
    recipe = recipe_of(f"local-dir:{folder}")
    assert recipe.preprocess["mean"] == (0.5, 0.5, 0.5)
    assert re.search("does not state its preprocessing: used that of ViT-.*-SigLIP", recipe.notes[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("runs/epoch_3.pt", "for a checkpoint write ARCHITECTURE@runs/epoch_3.pt"),
        ("best.safetensors", "for a checkpoint write ARCHITECTURE@best.safetensors"),
        ("models/mine", "but a folder exists: write local-dir:models/mine"),
        ("mine.py", "for a Python file write py:mine.py:FACTORY"),
        (
            "org/repo",
            r"for a repository of the hub write hf-hub:org/repo \(open_clip\) or hf:org/repo \(transformers\)",
        ),
    ],
)
def test_a_path_in_place_of_a_spec_says_how_to_write_it(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    with pytest.raises(ModelError, match=message):
        load(given)


def test_the_config_of_a_folder_in_place_of_an_architecture_says_how_to_write_it(folder):
    with pytest.raises(ModelError, match=r"is the config of a model folder; .* write local-dir:.*@CHECKPOINT"):
        load(f"{folder}/open_clip_config.json")
