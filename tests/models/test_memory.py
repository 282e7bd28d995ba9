"""A model that cannot fit into memory is refused before its weights are read."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers_folders import built, save

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models import memory
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.memory import check_memory
from pytest_clip_robust.models.spec import ModelSpec

GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets the bytes of free memory."""
    return lambda size: monkeypatch.setattr(memory, "free_memory", lambda: size / GIB)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_safetensors_need_their_parameters_as_fp32(tmp_path, free, dtype):
    save_file({"a": torch.ones(50, 10, dtype=dtype), "b": torch.ones((), dtype=dtype)}, tmp_path / "m.safetensors")
    free(501 * 4)
    check_memory([tmp_path / "m.safetensors"], "it")
    free(501 * 4 - 1)
    with pytest.raises(ModelError, match=r"^it is too large for this machine: its parameters need 0\.0 GiB of memory"):
        check_memory([tmp_path / "m.safetensors"], "it")


def test_files_add_up_and_torch_files_need_their_size(tmp_path, free):
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    free(2000)
    check_memory([tmp_path / "a.bin", tmp_path / "b.bin"], "it")
    free(1999)
    with pytest.raises(ModelError, match="too large"):
        check_memory([tmp_path / "a.bin", tmp_path / "b.bin"], "it")


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 50, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{}"])
def test_a_damaged_header_counts_as_the_file(tmp_path, free, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    free(GIB)
    check_memory([tmp_path / "m.safetensors"], "it")


def test_without_known_memory_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    (tmp_path / "a.bin").write_bytes(b"x")
    check_memory([tmp_path / "a.bin"], "it")


def test_large_models_of_both_libraries_are_refused_before_they_are_read(
    folder, config, checkpoint, tmp_path_factory, free, monkeypatch
):
    clip = save(built("CLIP"), tmp_path_factory.mktemp("hf") / "clip")
    assert load_file(clip / "model.safetensors")
    free(1000)
    for name in ("torch.load", "safetensors.torch.load_file", "pytest_clip_robust.models.checkpoint.load_file"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("the weights were read"))
    for spec in (f"local-dir:{folder}", f"{config}@{checkpoint}", f"hf:{clip}"):
        with pytest.raises(ModelError, match=r"is too large for this machine: .* GiB of memory, and 0\.0 GiB are free"):
            load_model(ModelSpec.parse(spec), device="cpu", precision="fp32")
