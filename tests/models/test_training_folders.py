"""Folders of trainers: those that hold a model are loaded, and the others say what to write."""

from __future__ import annotations

import pytest
import torch
import torch.distributed.checkpoint as dcp
from transformers_folders import built, save

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.models.training_folders import advice
from pytest_clip_robust.system.quiet import quiet


def load(text):
    return load_model(ModelSpec.parse(str(text)), device="cpu", precision="fp32")


def fails(text, message):
    with pytest.raises(ModelError, match=message) as error:
        load(text)
    assert "\n" not in str(error.value)


def trainer_folder(folder):
    """A checkpoint as transformers' Trainer writes it."""
    save(built("CLIP"), folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.full((3,), torch.nan)}, folder / name)
    (folder / "training_args.bin").write_bytes(b"\x80\x02cos\nsystem\n.")
    (folder / "trainer_state.json").write_text('{"global_step": 500}')
    return folder


def test_a_checkpoint_of_the_trainer_is_loaded(tmp_path):
    plain = save(built("CLIP"), tmp_path / "plain")
    loaded = load(f"hf:{trainer_folder(tmp_path / 'out' / 'checkpoint-500')}")
    assert loaded.weights == load(f"hf:{plain}").weights
    assert loaded.notes == ()


@pytest.mark.parametrize("kind", ["hf:", "local-dir:", "ViT-B-32@", ""])
def test_the_output_folder_of_the_trainer_names_the_newest_checkpoint(tmp_path, kind):
    for step in (500, 1500, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
    fails(f"{kind}{tmp_path}", rf"has no model, but checkpoints .* checkpoint-1500: write {tmp_path}/checkpoint-1500")


def test_an_output_folder_with_a_config_and_no_weights_names_the_newest_checkpoint(tmp_path):
    save(built("CLIP"), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "checkpoint-20").mkdir()
    fails(f"hf:{tmp_path}", rf"the newest of which is checkpoint-20: write {tmp_path}/checkpoint-20")


@pytest.mark.parametrize("kind", ["hf:", "local-dir:", "ViT-B-32@", ""])
def test_a_run_of_open_clip_names_its_newest_epoch(tmp_path, kind):
    (tmp_path / "checkpoints").mkdir()
    for name in ("epoch_9.pt", "epoch_10.pt", "epoch_latest.pt"):
        (tmp_path / "checkpoints" / name).touch()
    fails(f"{kind}{tmp_path}", rf"is a run of open_clip's training: write ARCHITECTURE@{tmp_path}/checkpoints/epoch_10")


@pytest.mark.parametrize("kind", ["hf:", "local-dir:", "ViT-B-32@", ""])
@pytest.mark.parametrize("inside", ["", "pytorch_model_fsdp_0"])
def test_a_sharded_checkpoint_of_torch_says_how_to_join_it(tmp_path, kind, inside):
    with quiet():
        dcp.save({"visual.proj": torch.ones(2)}, checkpoint_id=tmp_path / inside)
    fails(f"{kind}{tmp_path}", rf"format_utils dcp_to_torch {tmp_path / inside} model\.pt")


@pytest.mark.parametrize("kind", ["hf:", "local-dir:", "ViT-B-32@", ""])
@pytest.mark.parametrize("inside", ["", "global_step500"])
def test_a_checkpoint_of_deepspeed_says_how_to_join_it(tmp_path, kind, inside):
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").touch()
    fails(f"{kind}{tmp_path}", r"holds a sharded checkpoint of DeepSpeed: join it with the zero_to_fp32\.py")


def test_the_weights_of_deepspeed_that_are_whole_are_loaded_and_empty_ones_refused(tmp_path, config, parameters):
    file = tmp_path / "mp_rank_00_model_states.pt"
    torch.save({"module": {f"module.{name}": value for name, value in parameters.items()}}, file)
    assert load(f"{config}@{file}").weights
    torch.save({"module": {name: torch.empty(0) for name in parameters}}, file)
    fails(f"{config}@{file}", r"has \d+ empty parameters, first .*: DeepSpeed \(ZeRO-3\) stores them in other files")


def test_an_empty_folder_and_an_adapter(tmp_path):
    fails(f"local-dir:{tmp_path}", r"no file .*open_clip_config\.json")
    fails(f"hf:{tmp_path}", r"has no config\.json; expected a folder that save_pretrained wrote")
    (tmp_path / "adapter_config.json").write_text("{}")
    for kind in ("hf:", "local-dir:", "ViT-B-32@", ""):
        fails(f"{kind}{tmp_path}", rf"holds an adapter without its base model: write BASE\+adapter:{tmp_path}")


def test_a_folder_of_something_else_has_no_advice(tmp_path):
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "notes.txt").touch()
    assert not advice(tmp_path)
    assert not advice(tmp_path / "nothing")


def test_a_folder_that_may_not_be_read_has_no_advice(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError

    (tmp_path / "checkpoint-20").mkdir()
    assert advice(tmp_path)
    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    assert not advice(tmp_path)
