"""Checkpoints of open_clip's training are built as the run's params.txt says."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from training_runs import trained_run, untrained_run

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.open_clip.recipe import recipe_for
from pytest_clip_robust.models.spec import ModelSpec

TEXTS = ["a photo of a cat.", "word " * 30]

EVERYTHING = (
    "--force-image-size 48 --force-context-length 12 --force-custom-text --force-quick-gelu --force-patch-dropout 0.5 "
    "--siglip --image-mean 0.5 0.4 0.3 --image-std 0.2 0.25 0.3 --image-interpolation bilinear "
    "--image-resize-mode squash"
)


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


def assert_as_trained(loaded, run, photo):
    """Compare preprocessing, features of both towers, scale and bias with the model that the training had."""
    pixels = run.preprocess(photo)
    assert torch.equal(loaded.encoder.preprocess(photo), pixels)
    with torch.inference_mode():
        images, texts = run.model.encode_image(pixels[None]), run.model.encode_text(run.tokenizer(TEXTS))
        torch.testing.assert_close(loaded.encoder.encode_image(pixels[None]), images, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(loaded.encoder.encode_text(TEXTS), texts, atol=1e-6, rtol=1e-5)
    assert loaded.encoder.scale == pytest.approx(float(run.model.logit_scale.exp()))
    bias = run.model.logit_bias
    assert loaded.encoder.bias == pytest.approx(0.0 if bias is None else float(bias))


def test_a_real_run_with_every_option_has_the_features_of_its_training(tmp_path, photo):
    run = trained_run(tmp_path, *EVERYTHING.split())
    loaded = load(f"{run.config}@{run.checkpoint}")
    assert_as_trained(loaded, run, photo)
    assert loaded.notes == ()
    assert loaded.encoder.bias == pytest.approx(-10, abs=0.1)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--force-image-size 48",
        "--force-image-size 48 32",
        "--force-image-size 64 --force-patch-dropout 0.3",
        "--force-context-length 12",
        "--force-context-length 20",
        "--force-custom-text",
        "--force-custom-text --force-context-length 9 --force-image-size 16",
        "--force-quick-gelu",
        "--siglip",
        "--siglip --force-custom-text",
        "--image-mean 0.5 --image-std 0.5",
        "--image-mean 0 0 0 --image-std 1 1 1 --image-resize-mode longest",
        "--image-interpolation random --image-resize-mode shortest",
        "--precision pure_bf16 --torchcompile --grad-checkpointing --lock-image",
    ],
)
def test_a_run_has_the_features_of_its_training(tmp_path, photo, options):
    run = untrained_run(tmp_path, *options.split())
    loaded = load(f"{run.config}@{run.checkpoint}")
    assert_as_trained(loaded, run, photo)
    assert loaded.notes == ()


def test_dense_features_work_with_one_mean_for_all_channels(tmp_path):
    run = untrained_run(tmp_path, "--image-mean", "0.5", "--image-std", "0.5")
    features = load(f"{run.config}@{run.checkpoint}").encoder.encode_dense(torch.rand(1, 3, 32, 48))
    assert features.shape == (1, 64, 2, 3)


def test_a_link_to_a_checkpoint_has_the_options_of_its_run(tmp_path, photo):
    run = untrained_run(tmp_path, "--force-image-size", "48", "--image-resize-mode", "squash")
    link = tmp_path / "best.pt"
    link.symlink_to(run.checkpoint)
    assert_as_trained(load(f"{run.config}@{link}"), run, photo)


@pytest.mark.parametrize("options", ["--siglip", "--force-custom-text", "--siglip --force-custom-text"])
def test_a_checkpoint_without_its_run_states_its_bias_and_text_tower_itself(tmp_path, photo, options):
    run = untrained_run(tmp_path, *options.split())
    shutil.copy(run.checkpoint, tmp_path / "alone.pt")
    loaded, of_run = load(f"{run.config}@{tmp_path}/alone.pt"), load(f"{run.config}@{run.checkpoint}")
    assert_as_trained(loaded, run, photo)
    assert loaded.weights == of_run.weights


def test_a_checkpoint_without_its_run_is_built_with_its_own_context(tmp_path, photo):
    run = untrained_run(tmp_path, "--force-context-length", "12")
    shutil.copy(run.checkpoint, tmp_path / "alone.pt")
    loaded = load(f"{run.config}@{tmp_path}/alone.pt")
    assert_as_trained(loaded, run, photo)
    assert loaded.notes == ("the checkpoint's text tower takes 12 tokens, tiny-clip 16: built for 12",)


def test_a_checkpoint_without_its_run_can_be_measured_at_its_own_image_size(tmp_path, photo):
    run = untrained_run(tmp_path, "--force-image-size", "64")
    shutil.copy(run.checkpoint, tmp_path / "alone.pt")
    (note,) = load(f"{run.config}@{tmp_path}/alone.pt").notes
    assert note.endswith(
        "interpolated to (5, 64): it was trained at another image size; write ?image_size=64 to measure at that one"
    )
    loaded = load(f"{run.config}@{tmp_path}/alone.pt?image_size=64")
    assert loaded.notes == ()
    assert_as_trained(loaded, run, photo)


def test_a_spec_decides_the_image_size_of_a_run(tmp_path):
    run = untrained_run(tmp_path, "--force-image-size", "48")
    loaded = load(f"{run.config}@{run.checkpoint}?image_size=64")
    assert "(10, 64) and was interpolated to (17, 64)" in loaded.notes[0]


def test_a_run_with_the_default_size_is_the_same_model(tmp_path):
    run = untrained_run(tmp_path, "--force-image-size", "32", "--force-context-length", "16")
    shutil.copy(run.checkpoint, tmp_path / "alone.pt")
    assert load(f"{run.config}@{run.checkpoint}").weights == load(f"{run.config}@{tmp_path}/alone.pt").weights


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("force_image_size: large", "force_image_size='large'; expected one or two whole numbers"),
        ("force_image_size: [1, 2, 3]", "expected one or two whole numbers"),
        ("force_image_size: -3", "expected one or two whole numbers"),
        ("force_context_length: 1.5", "force_context_length='1.5'; expected a whole number"),
        ("force_custom_text: maybe", "force_custom_text='maybe'; expected True or False"),
        ("siglip: 7", "siglip='7'; expected True or False"),
        ("image_mean: [0.5, 0.5]", "expected one or three numbers"),
        ("image_std: wide", "expected one or three numbers"),
        ("image_resize_mode: [1]", "expected a word"),
    ],
)
def test_a_damaged_params_file_is_one_line(tmp_path, line, message):
    (tmp_path / "params.txt").write_text(f"model: ViT-B-16\npretrained: \n{line}\n")
    with pytest.raises(ModelError, match=message.replace("[", r"\[")) as error:
        recipe_for(ModelSpec.parse(f"ViT-B-16@{tmp_path}/checkpoints/epoch_1.pt"))
    assert "params.txt" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_params_file_that_is_a_pipe_is_ignored(tmp_path):
    run = untrained_run(tmp_path)
    params = run.checkpoint.parent.parent / "params.txt"
    params.unlink()
    os.mkfifo(params)
    assert load(f"{run.config}@{run.checkpoint}")


def test_a_sigmoid_run_without_its_bias_is_refused(tmp_path):
    run = untrained_run(tmp_path, "--siglip")
    state = torch.load(run.checkpoint, weights_only=False)
    del state["state_dict"]["logit_bias"]
    torch.save(state, run.checkpoint)
    with pytest.raises(ModelError, match="has no logit_bias, which tiny-clip has"):
        load(f"{run.config}@{run.checkpoint}")


def test_a_checkpoint_without_the_bias_of_its_architecture_is_refused(tmp_path):
    run = untrained_run(tmp_path)
    config = json.loads(run.config.read_text()) | {"init_logit_bias": -10}
    (tmp_path / "tiny-sigmoid.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="has no logit_bias, which tiny-sigmoid has"):
        load(f"{tmp_path}/tiny-sigmoid.json@{run.checkpoint}")


def test_a_run_of_a_hub_model_names_the_spec_to_write(tmp_path):
    run = untrained_run(tmp_path)
    params = run.checkpoint.parent.parent / "params.txt"
    params.write_text(params.read_text().replace("model: tiny-clip", "model: hf-hub:org/repo"))
    with pytest.raises(ModelError, match=r"trained as hf-hub:org/repo; write hf-hub:org/repo@.*epoch_1\.pt"):
        load(f"ViT-B-32@{run.checkpoint}")


def test_an_architecture_with_a_slash_is_the_one_with_a_hyphen(tmp_path):
    (tmp_path / "params.txt").write_text("model: ViT-B/16-SigLIP\npretrained: webli\n")
    with pytest.raises(ModelError, match="no checkpoint"):
        load(f"ViT-B-16-SigLIP@{tmp_path}/checkpoints/epoch_3.pt")
