"""Checkpoint files: read without executing anything in them, checked, and identified by their content."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.memory import check_memory
from pytest_clip_robust.models.parameters import StateDict, find_parameters
from pytest_clip_robust.models.shards import INDEX_SUFFIX, named_shards, shards_of
from pytest_clip_robust.models.training_folders import advice
from pytest_clip_robust.models.unpickling import RefusedError, load_restricted
from pytest_clip_robust.system.expansion import ExpansionError, check_zip
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The `parameters` of a file, without the prefixes of wrappers.

    plain: whether open_clip's own reader finds the same parameters. It accepts a state_dict, or one under the key
        ``state_dict``, and removes one ``module.`` from every name.
    stamp: identifies the version of the file that was read. notes: one-line remarks on what was used of the file.
    """

    path: Path
    parameters: StateDict
    plain: bool
    stamp: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def check_unchanged(self) -> None:
        """Check that the file is still the one that was read.

        Raises:
            ModelError: it was replaced or changed since.
        """
        if _stamps(self.path) != self.stamp:
            raise ModelError(f"checkpoint {self.path} was replaced while it was loaded; run again once it is complete")


def read_checkpoint(path: Path, *, wanted: str = "", known: Collection[str] = ()) -> Checkpoint:
    """Read the parameters of a safetensors file, a torch checkpoint, or the shards of one, by their index or one name.

    Only tensors and plain containers are built; everything else in a training checkpoint is skipped. If the file has
    several models, such as an average next to the trained parameters, `wanted` chooses one, and
    `known` names a model that is not a CLIP: see `find_parameters`.

    Raises:
        ModelError: the file does not exist, is truncated, would run code, has no parameters, or has NaN in them.
    """
    where = f"checkpoint {path}"
    stamp = _stamps(path)
    files = shards_of(path, where)
    check_memory(files, where)
    content, restricted = (_joined(path, files), True) if files != (path,) else _load(path)
    found = find_parameters(content, f"checkpoint {path}", wanted=wanted, known=known)
    check_finite(found.parameters, f"checkpoint {path}")
    notes = (*found.notes, *_low_precision(found.parameters))
    plain = not restricted and _is_plain(content, found.parameters)
    return Checkpoint(path, found.parameters, plain=plain, stamp=stamp, notes=notes)


def check_readable(path: Path) -> None:
    """Check that a checkpoint is a file that can be read, without reading it.

    Raises:
        ModelError: it does not exist, or is a folder, a pipe or a device; of a trainer's folder, what to write instead.
    """
    _stamp(path)


def read_tensors(path: Path) -> StateDict:
    """Read a file that holds nothing but named tensors, such as a shard of a model or an adapter.

    Raises:
        ModelError: the file does not exist, is damaged or truncated, would run code, or holds something else.
    """
    _stamp(path)
    content, _ = _load(path)
    if not isinstance(content, dict) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise ModelError(f"checkpoint {path} holds more than tensors by name; expected a state_dict")
    return dict(content)


def content_digest(parameters: Mapping[str, torch.Tensor], architecture: object) -> str:
    """Return the SHA-256 of names, types, shapes and values of `parameters`, and of the JSON of `architecture`.

    The name and format of the file do not matter. Settings that change features without changing a parameter, such as
    the activation function, belong in `architecture`.
    """
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True, default=str).encode())
    for name in sorted(parameters):
        tensor = parameters[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_finite(parameters: Mapping[str, torch.Tensor], where: str) -> None:
    """Check that no parameter is NaN or infinite; `where` begins the message.

    Raises:
        ModelError: some are.
    """
    bad = [name for name, tensor in parameters.items() if not _is_finite(tensor)]
    if bad:
        raise ModelError(
            f"{where}: {len(bad)} of {len(parameters)} parameters are NaN or infinite, first {bad[0]!r}: "
            "the training diverged; take an earlier checkpoint"
        )


def _stamps(path: Path) -> tuple[int, ...]:
    """Return the stamps of a checkpoint and of its shards."""
    own = _stamp(path)
    shards = [one for one in shards_of(path, f"checkpoint {path}") if one != path]
    return own + tuple(number for one in shards for number in _stamp(one))


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written.

    Raises:
        ModelError: it does not exist, or is not a regular file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - as below, it follows links
    except FileNotFoundError:
        raise ModelError(
            f"no checkpoint {path}; give the path of a .pt or .safetensors file, or an open_clip tag"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"checkpoint {path} cannot be read: {one_line(error)}") from error
    if stat.S_ISDIR(found.st_mode):
        what = advice(path) or f"is a folder; name a file, or write local-dir:{path}"
        raise ModelError(f"checkpoint {path} {what}")
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"checkpoint {path} is a pipe or a device; give the path of a regular file")
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _load(path: Path) -> tuple[object, bool]:
    """Return the content of a file, and whether it has more than tensors and plain containers."""
    return (_load_safetensors(path), False) if path.suffix == ".safetensors" else _load_torch(path)


def _joined(path: Path, files: Iterable[Path]) -> StateDict:
    """Return the parameters of all shards, which must be those of the index if `path` is one."""
    found: StateDict = {}
    for file in files:
        tensors = read_tensors(file)
        if twice := sorted(found.keys() & tensors.keys()):
            raise ModelError(f"checkpoint {path}: two of its shards have {twice[0]!r}; copy all of them again")
        found |= tensors
    expected = named_shards(path, f"checkpoint {path}").keys() if path.name.endswith(INDEX_SUFFIX) else found.keys()
    if lacking := sorted(expected - found.keys()):
        raise ModelError(
            f"checkpoint {path}: its shards lack {len(lacking)} of the parameters that it names, first {lacking[0]!r}; "
            "copy all of them again"
        )
    return found


def _load_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"checkpoint {path} is damaged or truncated ({one_line(error)}): copy it again") from error
    except (KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"checkpoint {path} has parameters of a type that this torch and safetensors cannot read "
            f"({one_line(error)}): save it as fp32, bf16 or fp16"
        ) from error


def _load_torch(path: Path) -> tuple[object, bool]:
    """Return the content of a torch checkpoint, and whether it has more than tensors and plain containers."""
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
        with path.open("rb") as file, quiet():
            try:
                return torch.load(file, map_location="cpu", weights_only=True), False
            except pickle.UnpicklingError:
                file.seek(0)
                return load_restricted(file), True
    except RefusedError as error:
        raise ModelError(
            f"checkpoint {path} is refused: unpickling it would run {one_line(error)}; "
            "save the plain state_dict, best as .safetensors"
        ) from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"checkpoint {path} is not a torch checkpoint, or is damaged: copy it again, or save the plain "
            "state_dict, best as .safetensors"
        ) from error
    except ExpansionError as error:
        raise ModelError(f"checkpoint {path} is refused: {error}") from error
    except PermissionError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {one_line(error)}") from error
    except Exception as error:  # a damaged pickle raises errors of any kind
        if "TorchScript" in str(error):
            raise ModelError(f"checkpoint {path} is a TorchScript archive; save its state_dict() instead") from error
        raise ModelError(f"checkpoint {path} is damaged or truncated ({one_line(error)}): copy it again") from error


def _is_plain(content: object, parameters: StateDict) -> bool:
    inside = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not isinstance(inside, dict) or len(inside) != len(parameters):
        return False
    prefix = "" if inside.keys() == parameters.keys() else "module."
    return all(inside.get(f"{prefix}{name}") is tensor for name, tensor in parameters.items())


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # torch cannot compare types of 8 bits
    # Both are NaN if any value is. They take a tenth of the time of isfinite.
    return all(bool(one.isfinite()) for one in wide.aminmax())


def _low_precision(parameters: StateDict) -> list[str]:
    types = {tensor.dtype for tensor in parameters.values() if tensor.is_floating_point()}
    eight = sorted(str(dtype).removeprefix("torch.") for dtype in types if dtype.itemsize == 1)
    return [f"the checkpoint's parameters are stored as {', '.join(eight)}"] if eight else []
