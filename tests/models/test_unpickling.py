"""Training checkpoints with any content are read, and nothing in them is ever executed."""

from __future__ import annotations

import argparse
import datetime as dt
import enum
import functools
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.checkpoint import read_checkpoint

WEIGHTS = {
    "visual.proj": torch.arange(6.0).reshape(2, 3),
    "visual.half": torch.arange(4.0).to(torch.bfloat16),
    "visual.steps": torch.tensor(3),
    "logit_scale": torch.tensor(1.5),
}


class Attributes(dict):
    """Like Lightning's AttributeDict."""


class Items(list):
    pass


class Names(set):
    pass


class Level(enum.Enum):
    LOW = 1


class Outer:
    class Nested:
        """In protocol 2, its pickle calls getattr."""


class Slotted:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 3


@dataclass
class Settings:
    model: str = "ViT-B-32"
    level: Level = Level.LOW


Point = namedtuple("Point", "x y")  # noqa: PYI024 - its pickle differs from that of typing.NamedTuple

EXTRAS = {
    "numpy scalar": np.float64(0.5),
    "numpy array": np.arange(3),
    "numpy strings": np.array(["a", "b"], dtype=object),
    "numpy generator": np.random.default_rng(0),
    "numpy state": np.random.RandomState(0).get_state(),
    "namespace": argparse.Namespace(lr=0.1, nested=argparse.Namespace(x=np.int64(3))),
    "simple namespace": types.SimpleNamespace(a=1),
    "dataclass": Settings(),
    "enum": Level.LOW,
    "enum key": {Level.LOW: 1, np.int64(2): 3},
    "set of objects": {Level.LOW},
    "slots": Slotted(),
    "nested class": [Outer.Nested, Outer.Nested()],
    "path": Path("runs/1"),
    "dates": [dt.datetime.now(tz=dt.UTC), dt.timedelta(1)],
    "default dict": defaultdict(list, a=[1]),
    "counter": Counter("abc"),
    "deque": deque([1, 2]),
    "named tuple": Point(1, 2),
    "partial": functools.partial(max, 1),
    "list subclass": Items([1, 2]),
    "set subclass": Names({1, 2}),
    "dict subclass": Attributes(lr=1),
    "module": nn.Linear(2, 2),
    "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=np.float64(0.1)),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
    "sparse": torch.eye(2).to_sparse(),
    "complex": 3j,
    "bytes": bytearray(b"x"),
    "slice": [slice(1), range(3), frozenset({1})],
}


def same(found, wanted=WEIGHTS):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("extra", EXTRAS)
def test_a_training_checkpoint_is_read_whatever_else_it_holds(tmp_path, extra, protocol):
    content = {"epoch": 3, "extra": EXTRAS[extra], "state_dict": WEIGHTS}
    torch.save(content, tmp_path / "model.pt", pickle_protocol=protocol)
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)


def test_an_old_torch_format_is_read(tmp_path):
    content = {"args": argparse.Namespace(lr=np.float64(1)), "state_dict": WEIGHTS}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)


@pytest.mark.parametrize("kind", [Attributes, OrderedDict])
def test_parameters_in_a_subclass_of_dict_are_found(tmp_path, kind):
    parameters = {name: nn.Parameter(value, requires_grad=value.is_floating_point()) for name, value in WEIGHTS.items()}
    torch.save({"args": argparse.Namespace(), "state_dict": kind(parameters)}, tmp_path / "model.pt")
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)


def test_tensors_that_share_memory_and_views_are_read(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    parameters = {"visual.a": whole[:, 1:3], "visual.b": whole.T, "logit_scale": torch.tensor(1.0)}
    torch.save({"args": argparse.Namespace(), "state_dict": parameters}, tmp_path / "model.pt")
    assert same(read_checkpoint(tmp_path / "model.pt").parameters, parameters)


class Hostile:
    """An object whose unpickling calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": lambda path: Hostile(os.system, f"touch {path}"),
    "eval": lambda path: Hostile(eval, f"open({str(path)!r}, 'w')"),
    "exec": lambda path: Hostile(exec, f"open({str(path)!r}, 'w')"),
    "open": lambda path: Hostile(open, str(path), "w"),
    "subprocess": lambda path: Hostile(subprocess.check_call, ["touch", str(path)]),
    "setattr": lambda path: Hostile(setattr, Settings, "model", None),
    "import": lambda path: Hostile(__import__, "antigravity"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("depth", ["top", "inside", "beside numpy"])
def test_a_file_that_names_a_function_that_runs_code_is_refused(tmp_path, hostile, depth):
    attack = HOSTILE[hostile](tmp_path / "pwned")
    content = {"top": attack, "inside": {"state_dict": WEIGHTS, "x": [attack]}}.get(
        depth, {"lr": np.float64(1), "state_dict": WEIGHTS, "x": attack}
    )
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"model\.pt is refused: unpickling it would run \S+; save the plain") as error:
        read_checkpoint(tmp_path / "model.pt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pwned").exists()


def pickle_of(*parts):
    """Assemble a pickle from opcodes."""
    return b"\x80\x02" + b"".join(parts) + b"."


@pytest.mark.parametrize(
    "code",
    [
        pickle_of(b"cos\nsystem\n(X\x05\x00\x00\x00touchtR"),
        pickle_of(b"(X\x01\x00\x00\x00xios\nsystem\n"),
        pickle_of(b"(cos\nsystem\nX\x01\x00\x00\x00xo"),
        b"\x80\x04\x8c\x08builtins\x8c\x14object.__subclasses__\x93)R.",
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__class__\x93)R.",
        pickle_of(b"ctorch\nload\n(X\x01\x00\x00\x00xtR"),
        pickle_of(b"ctorch.hub\nload\n(X\x01\x00\x00\x00xtR"),
        pickle_of(b"ctorch._utils\n_rebuild_tensor_v2\n(tR"),
        pickle_of(b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__K\x01sb"),
        pickle_of(b"cposix\nsystem\n}X\x01\x00\x00\x00aK\x01sb"),
    ],
)
def test_hand_made_pickles_run_nothing_and_end_in_one_line(tmp_path, code, monkeypatch):
    called = []
    monkeypatch.setattr(os, "system", called.append)
    monkeypatch.setattr(torch.hub, "load", called.append)
    torch.save(WEIGHTS, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "model.pt", "w") as damaged:
        for record in plain.namelist():
            damaged.writestr(record, code if record.endswith("data.pkl") else plain.read(record))
    with pytest.raises(ModelError) as error:
        read_checkpoint(tmp_path / "model.pt")
    assert "\n" not in str(error.value)
    assert called == []
    assert callable(torch._utils._rebuild_tensor_v2)


def test_nothing_that_a_file_names_is_imported(tmp_path, monkeypatch):
    (tmp_path / "spiteful.py").write_text("import pathlib; pathlib.Path('imported').touch()\nclass Config: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import spiteful

    torch.save({"config": spiteful.Config(), "state_dict": WEIGHTS}, tmp_path / "model.pt")
    del sys.modules["spiteful"]
    (tmp_path / "imported").unlink()
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)
    assert not (tmp_path / "imported").exists()
    assert "spiteful" not in sys.modules


def test_a_pickled_model_is_refused_by_its_type(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"holds no parameters \(it is a pickled torch\.nn\.modules\.linear\.Linear\)"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_pickled_model_under_a_key_is_refused_by_its_type(tmp_path):
    torch.save({"epoch": 3, "model": nn.Linear(2, 2)}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"its keys are epoch, model, with values of type torch\.nn\.modules\.linear"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_tar_archive_or_a_bare_pickle_is_one_line(tmp_path):
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"args": argparse.Namespace(), "state_dict": {"a": 1}}))
    import tarfile

    with tarfile.open(tmp_path / "tar.pt", "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    for name in ("bare.pt", "tar.pt"):
        with pytest.raises(ModelError) as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


def test_self_referential_content_does_not_hang(tmp_path):
    content = {"state_dict": WEIGHTS}
    content.update({f"me{i}": content for i in range(50)})
    torch.save(content, tmp_path / "model.pt")
    assert same(read_checkpoint(tmp_path / "model.pt").parameters)
