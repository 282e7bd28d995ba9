from __future__ import annotations

import json
import os
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.checkpoint import check_finite, content_digest, read_checkpoint

WEIGHTS = {"visual.proj": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(1.5)}


def same(found, wanted=WEIGHTS):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def prefixed(prefix):
    return {f"{prefix}{name}": tensor for name, tensor in WEIGHTS.items()}


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        OrderedDict(WEIGHTS),
        {"state_dict": WEIGHTS, "epoch": 3, "name": "run", "optimizer": {"lr": 1e-3}},
        {"model_state_dict": WEIGHTS},
        {"state_dict": prefixed("module.")},
        {"state_dict": prefixed("module._orig_mod.")},
        {"state_dict": prefixed("_orig_mod.")},
    ],
    ids=["plain", "ordered", "training", "model_state_dict", "ddp", "compiled-ddp", "compiled"],
)
def test_the_usual_torch_checkpoints_are_read(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)


def test_a_checkpoint_that_open_clip_would_read_differently_is_marked(tmp_path):
    for content, plain in (
        (WEIGHTS, True),
        ({"state_dict": prefixed("module.")}, True),
        ({"model": WEIGHTS}, False),
        ({"state_dict": prefixed("_orig_mod.")}, False),
        ({"state_dict": prefixed("module._orig_mod.")}, False),
    ):
        torch.save(content, tmp_path / "model.pt")
        assert read_checkpoint(tmp_path / "model.pt").plain is plain


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert same(read_checkpoint(tmp_path / "model.safetensors").parameters)


def test_a_name_that_merely_starts_like_a_wrapper_is_kept(tmp_path):
    weights = {"module.weight": torch.ones(1), "other.weight": torch.ones(1)}
    torch.save(weights, tmp_path / "model.pt")
    assert same(read_checkpoint(tmp_path / "model.pt").parameters, weights)


class Hostile:
    def __reduce__(self):
        return exec, ("print('pwned')",)


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path, capsys):
    torch.save({"state_dict": WEIGHTS, "extra": Hostile()}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"model\.pt is refused: unpickling it would run .*exec.*save the plain") as e:
        read_checkpoint(tmp_path / "model.pt")
    assert "\n" not in str(e.value)
    assert capsys.readouterr().out == ""


def test_a_plain_pickle_is_refused_too(tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError):
        read_checkpoint(tmp_path / "model.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_ends_in_one_line(tmp_path, suffix, keep):
    path = tmp_path / f"model{suffix}"
    save_file(WEIGHTS, path) if suffix == ".safetensors" else torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"damaged|not a torch checkpoint") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_text_in_place_of_a_checkpoint_ends_in_one_line(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_checkpoint_with_nan_names_the_parameter(tmp_path, bad):
    torch.save(WEIGHTS | {"ln.bias": torch.tensor([0.0, bad])}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"1 of 3 parameters are NaN or infinite, first 'ln\.bias'"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_number_is_found_at_any_place(dtype, bad):
    parameters = {"empty": torch.empty(0, 3), "largest": torch.full((9,), torch.finfo(dtype).max, dtype=dtype)}
    check_finite(parameters, "it")
    for shape, place in (((), ()), ((1000,), 0), ((1000,), 999), ((40, 30), (17, 4)), ((0x10001,), 0x10000)):
        tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        tensor[place] = bad
        with pytest.raises(ModelError, match="it: 1 of 3 parameters are NaN or infinite, first 'bad'"):
            check_finite(parameters | {"bad": tensor}, "it")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}, {"state_dict": {"a": 1}}])
def test_a_file_without_parameters_lists_its_content(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="holds no parameters"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_missing_file_or_a_folder_is_one_line(tmp_path):
    for path in (tmp_path / "model.pt", tmp_path / "model.safetensors"):
        with pytest.raises(ModelError, match="no checkpoint"):
            read_checkpoint(path)
    with pytest.raises(ModelError, match="is a folder; name a file, or write local-dir:"):
        read_checkpoint(tmp_path)


def test_a_torchscript_archive_is_refused_with_the_way_out(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated; OpenAI's own archives are scripted all the same
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="TorchScript archive"):
        read_checkpoint(tmp_path / "model.pt")


@given(st.permutations(sorted(WEIGHTS)))
def test_the_digest_does_not_depend_on_the_order(names):
    assert content_digest({name: WEIGHTS[name] for name in names}, {}) == content_digest(WEIGHTS, {})


def test_the_digest_depends_on_names_types_shapes_values_and_architecture():
    changes = [
        ({"visual.proj": WEIGHTS["visual.proj"] + 1e-7}, {}),
        ({"visual.proj": WEIGHTS["visual.proj"].reshape(3, 2)}, {}),
        ({"visual.proj": WEIGHTS["visual.proj"].half()}, {}),
        ({"more": torch.zeros(1)}, {}),
        ({}, {"quick_gelu": True}),
    ]
    digests = {content_digest(WEIGHTS | change, config) for change, config in changes}
    assert len(digests | {content_digest(WEIGHTS, {})}) == 1 + len(changes)


def test_the_digest_takes_types_that_numpy_lacks():
    assert content_digest({"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.tensor(1)}, {})


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path, suffix):
    pipe = tmp_path / f"model{suffix}"
    os.mkfifo(pipe)
    link = tmp_path / f"zero{suffix}"
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(ModelError, match="is a pipe or a device; give the path of a regular file"):
            read_checkpoint(path)


@pytest.mark.parametrize("name", ["x" * 300 + ".pt", "no\0thing.pt", "/dev/null/model.pt"])
def test_a_path_that_cannot_exist_is_one_line(name):
    with pytest.raises(ModelError, match="checkpoint") as error:
        read_checkpoint(Path(name))
    assert "\n" not in str(error.value)


def test_a_file_that_is_replaced_while_it_is_loaded_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS, path)
    checkpoint = read_checkpoint(path)
    checkpoint.check_unchanged()
    before = path.stat()
    torch.save({name: value + 1 for name, value in WEIGHTS.items()}, tmp_path / "new.pt")
    (tmp_path / "new.pt").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelError, match=r"model\.pt was replaced while it was loaded"):
        checkpoint.check_unchanged()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_parameters_of_8_bits_are_read_with_a_note(tmp_path, dtype, suffix):
    path = tmp_path / f"model{suffix}"
    weights = {"visual.proj": torch.ones(2, 3).to(dtype), "logit_scale": torch.tensor(1.5)}
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    found = read_checkpoint(path)
    assert found.notes == (f"the checkpoint's parameters are stored as {str(dtype).removeprefix('torch.')}",)
    weights["visual.proj"] = torch.tensor([float("nan")]).to(dtype)
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    with pytest.raises(ModelError, match=r"1 of 2 parameters are NaN or infinite, first 'visual\.proj'"):
        read_checkpoint(path)


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "X9"])
def test_a_type_that_cannot_be_read_is_one_line(tmp_path, dtype):
    header = json.dumps({"visual.proj": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(ModelError) as error:
        read_checkpoint(tmp_path / "model.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wanted", ["ema", "state_dict_ema"])
def test_averaged_weights_with_the_same_names_are_not_read_by_open_clip(tmp_path, wanted):
    """It would read those under ``state_dict``."""
    other = {name: value + 1 for name, value in WEIGHTS.items()}
    torch.save({"state_dict": WEIGHTS, "state_dict_ema": other}, tmp_path / "model.pt")
    found = read_checkpoint(tmp_path / "model.pt", wanted=wanted)
    assert same(found.parameters, other)
    assert not found.plain
