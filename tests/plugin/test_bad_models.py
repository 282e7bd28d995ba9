"""Models that cannot be loaded end their tests with one line, before any data is touched."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file
from transformers_folders import SIZE, built, save

from pytest_clip_robust.models import memory

PROFILE = """
name = "colours"
[roles]
id = "photos"
[data.photos]
location = "photos"
[prompts]
templates = ["a photo of a {}."]
[thresholds]
"zero_shot.top1" = { at_least = 0.0 }
"""

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 8, "patch_size": 16, "head_width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


def missing(folder):
    (folder / "tiny-8.json").write_text(json.dumps(TINY))
    return "tiny-8.json@runs/epoch_9.pt", "no checkpoint runs/epoch_9.pt; give the path of a .pt or .safetensors file"


def state(folder):
    """Write the config of a small architecture and return its random parameters."""
    (folder / "tiny-8.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-8.json")
    return open_clip.create_model("tiny-8").state_dict()


def truncated(folder):
    torch.save(state(folder), folder / "epoch_1.pt")
    (folder / "epoch_1.pt").write_bytes((folder / "epoch_1.pt").read_bytes()[:-1000])
    return "tiny-8.json@epoch_1.pt", "checkpoint epoch_1.pt is damaged or truncated"


def captioner(folder):
    """OpenVision 2 and 3 train an image tower by captioning, and have no text tower."""
    parameters = {name: value for name, value in state(folder).items() if name.startswith("visual.")}
    save_file(parameters, folder / "captioner.safetensors")
    return "tiny-8.json@captioner.safetensors", "has an image tower and no text tower, such as a captioner"


def text_model(folder):
    config = hf.BertConfig(vocab_size=8, max_position_embeddings=8, **SIZE)
    hf.BertModel(config).save_pretrained(folder / "bert")
    return "hf:bert", "BertModel of model type 'bert' has no features of images and texts in a common space"


def truncated_folder(folder):
    save(built("CLIP"), folder / "clip")
    weights = folder / "clip" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return "hf:clip", "clip cannot be loaded, it is damaged or truncated"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return "hf:empty", "empty has no config.json; expected a folder that save_pretrained wrote"


def output_folder(folder):
    (folder / "out" / "checkpoint-20").mkdir(parents=True)
    return "hf:out", "the newest of which is checkpoint-20: write out/checkpoint-20"


def adapter_alone(folder):
    (folder / "lora").mkdir()
    (folder / "lora" / "adapter_config.json").write_text("{}")
    return "hf:lora", "lora holds an adapter without its base model: write BASE+adapter:lora"


def no_adapter(folder):
    return "showroom-clip+adapter:lora", "no folder lora with an adapter"


def different(folder):
    return "interpolate:showroom-clip,hf:clip?alpha=0.5", "the two models differ in architecture: "


FAULTS = [
    missing,
    truncated,
    captioner,
    text_model,
    truncated_folder,
    empty_folder,
    output_folder,
    adapter_alone,
    no_adapter,
    different,
]


def run(colours, spec):
    for image in [one for one in (colours.path / "photos").rglob("*") if one.is_file()]:
        image.write_bytes(b"")  # a test that reads it says so
    (colours.path / "profile.toml").write_text(PROFILE)
    return colours.runpytest("--model", spec, "--clip-profile", "profile.toml")


def test_the_data_that_no_test_below_touches_is_damaged(colours):
    result = run(colours, "showroom-clip")
    result.stdout.fnmatch_lines(["*photos*cannot be decoded*"])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_model_that_cannot_be_loaded_is_one_line_and_touches_no_data(colours, fault, monkeypatch):
    monkeypatch.chdir(colours.path)
    if fault is different:
        save(built("CLIP"), colours.path / "clip")
    spec, message = fault(colours.path)
    result = run(colours, spec)
    result.assert_outcomes(errors=1)
    assert any(message in line for line in result.outlines), result.stdout.str()
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*cannot be decoded*")


def test_a_model_that_is_too_large_is_refused_with_the_numbers(colours, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 0.001)
    result = run(colours, "showroom-clip")
    result.stdout.fnmatch_lines(["*too large for this machine: its parameters need * GiB of memory, and 0.0 GiB are*"])
    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*Traceback*")
