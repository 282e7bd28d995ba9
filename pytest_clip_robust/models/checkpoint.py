"""Checkpoint files: read without executing anything in them, checked, and identified by their content."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile add to every name."""

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The `parameters` of a file, without the prefixes of wrappers.

    plain: whether open_clip's own reader finds the same parameters. It accepts a state_dict, or one under the key
        ``state_dict``, and removes one ``module.`` from every name.
    """

    path: Path
    parameters: StateDict
    plain: bool


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the parameters of a safetensors file or a torch checkpoint.

    Only tensors and plain containers are unpickled (``weights_only=True``). The parameters of a training checkpoint
    can be stored under ``state_dict``.

    Raises:
        ModelError: the file does not exist, is truncated, would run code, has no parameters, or has NaN in them.
    """
    content = _load_safetensors(path) if path.suffix == ".safetensors" else _load_torch(path)
    found = _state_dict(content, path)
    parameters = _plain_names(found)
    _check_finite(parameters, path)
    usual_place = found is content or (isinstance(content, dict) and found is content.get("state_dict"))
    usual_names = found.keys() in (parameters.keys(), {f"module.{name}" for name in parameters})
    return Checkpoint(path, parameters, plain=usual_place and usual_names)


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


def _load_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ModelError(_absent(path)) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"checkpoint {path} is damaged or truncated ({one_line(error)}): copy it again") from error


def _load_torch(path: Path) -> object:
    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(_absent(path)) from None
    except IsADirectoryError:
        raise ModelError(f"checkpoint {path} is a folder; name a file, or write local-dir:{path}") from None
    except pickle.UnpicklingError as error:
        wanted = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        if wanted is None:
            raise ModelError(
                f"checkpoint {path} is not a torch checkpoint of plain tensors, or is damaged: "
                "copy it again, or save the plain state_dict, best as .safetensors"
            ) from error
        raise ModelError(
            f"checkpoint {path} is refused: unpickling it would run {wanted[1]}; "
            "save the plain state_dict, best as .safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        if "TorchScript" in str(error):
            raise ModelError(f"checkpoint {path} is a TorchScript archive; save its state_dict() instead") from error
        raise ModelError(f"checkpoint {path} is damaged or truncated ({one_line(error)}): copy it again") from error


def _state_dict(content: object, path: Path) -> Mapping[str, Any]:
    found = content
    if isinstance(content, dict):
        found = next((content[key] for key in STATE_DICT_KEYS if isinstance(content.get(key), dict)), content)
    if isinstance(found, dict) and found and all(isinstance(value, torch.Tensor) for value in found.values()):
        return found
    inside = f"keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else type(content).__name__
    raise ModelError(
        f"checkpoint {path} holds no parameters ({inside}); expected a state_dict, or one under 'state_dict'"
    )


def _plain_names(parameters: Mapping[str, torch.Tensor]) -> StateDict:
    plain = dict(parameters)
    while prefix := next((one for one in WRAPPERS if all(name.startswith(one) for name in plain)), ""):
        plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    return plain


def _check_finite(parameters: StateDict, path: Path) -> None:
    bad = [name for name, tensor in parameters.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise ModelError(
            f"checkpoint {path}: {len(bad)} of {len(parameters)} parameters are NaN or infinite, first {bad[0]!r}: "
            "the training diverged; take an earlier checkpoint"
        )


def _absent(path: Path) -> str:
    return f"no checkpoint {path}; give the path of a .pt or .safetensors file, or an open_clip tag"
