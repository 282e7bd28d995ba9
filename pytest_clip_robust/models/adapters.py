"""Adapters of PEFT, such as LoRA, merged into the model that they were trained on.

The package peft does the work: it knows every kind of adapter and where each of its releases puts the parameters. Here,
what it would replace with random numbers, leave out or load from elsewhere without an error is refused in one line.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.built import BuiltModel
from pytest_clip_robust.models.checkpoint import check_finite, read_tensors
from pytest_clip_robust.models.parameters import StateDict
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import is_file, is_folder, read_json, user_path
from pytest_clip_robust.system.hub import HubError, cached_or_fetched
from pytest_clip_robust.system.text import one_line

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
NAME = "default"
"""What peft calls an adapter in the model; the names in a file do not contain it."""
INSTALL = "pip install 'pytest-clip-robust[adapters]'"


def add_adapter(built: BuiltModel, spec: ModelSpec) -> BuiltModel:
    """Merge the adapter that `spec` names into the parameters of its base model, `built`, in place.

    Raises:
        ModelError: the package peft is missing, or the adapter does not exist, is damaged, or does not fit the model.
    """
    where = f"model {spec.label}"
    folder = _folder(spec.adapter, where)
    settings = _settings(folder, where)
    weights = _weights(folder, where)
    module, notes = _merged(built.module, settings, weights, f"{where}: {folder}")
    return replace(built, module=module, notes=(*built.notes, *_base_notes(settings, spec), *notes))


def _folder(adapter: str, where: str) -> Path:
    """Return the folder of an adapter, after fetching it if it is a repository of the hub."""
    path = user_path(adapter)
    if is_folder(path):
        if not is_file(path / CONFIG):
            raise ModelError(f"{where}: {path} has no {CONFIG}; expected a folder that save_pretrained of peft wrote")
        return path
    if is_file(path):
        raise ModelError(f"{where}: the adapter {path} is a file; expected its folder, with {CONFIG}")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", adapter):
        hint = "; options belong before +adapter:" if "?" in adapter else ""
        raise ModelError(f"{where}: no folder {path} with an adapter{hint}")
    try:
        cached_or_fetched(adapter, WEIGHTS)
        return cached_or_fetched(adapter, [CONFIG]).parent
    except HubError as error:
        raise ModelError(f"{where}: no folder {path} with an adapter, and {one_line(error)}") from error


def _settings(folder: Path, where: str) -> dict[str, Any]:
    settings: dict[str, Any] = read_json(folder / CONFIG, dict, where, error=ModelError)
    if not isinstance(settings.get("peft_type"), str):
        raise ModelError(f"{where}: {folder / CONFIG} has no peft_type; expected a config that peft wrote")
    if settings.get("megatron_config"):  # peft would import the module that the file names
        raise ModelError(f"{where}: {folder / CONFIG} sets megatron_config, so that peft would import other code")
    return settings


def _weights(folder: Path, where: str) -> StateDict:
    path = next((folder / name for name in WEIGHTS if is_file(folder / name)), None)
    if path is None:
        raise ModelError(f"{where}: {folder} has no weights; expected {' or '.join(WEIGHTS)}")
    weights = read_tensors(path)
    check_finite(weights, f"{where}: {path}")
    return weights


def _merged(
    module: torch.nn.Module, settings: Mapping[str, Any], weights: StateDict, where: str
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return the module with the adapter merged into its parameters, and notes."""
    try:
        peft: Any = importlib.import_module("peft")  # an optional package, which takes seconds to import
    except ImportError as error:
        raise ModelError(f"{where}: an adapter needs the package peft ({one_line(error)}): {INSTALL}") from error
    names = module.state_dict().keys()
    try:
        config = peft.PeftConfig.from_peft_type(**peft.PeftConfig.check_kwargs(**settings))
    except Exception as error:  # peft raises errors of many kinds
        raise ModelError(
            f"{where}/{CONFIG} is not one that peft {peft.__version__} knows: {one_line(error)}"
        ) from error
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(f"{where} has an adapter of type {_kind(config)}, which changes inputs: it cannot be merged")
    config.inference_mode, config.task_type = True, None
    try:
        adapted = peft.PeftModel(module, config, adapter_name=NAME)
        expected = peft.get_peft_model_state_dict(adapted, adapter_name=NAME, save_embedding_layers=False)
    except Exception as error:  # as above
        raise ModelError(f"{where} does not fit {type(module).__name__}: {one_line(error)}") from error
    _check_names(expected, weights, f"{where} does not fit {type(module).__name__}")
    try:
        unexpected = peft.set_peft_model_state_dict(adapted, weights, adapter_name=NAME).unexpected_keys
        notes = _without_unused(adapted)
        merged = adapted.merge_and_unload(safe_merge=True)
    except Exception as error:  # as above
        raise ModelError(f"{where} cannot be merged: {type(error).__name__}: {one_line(error)}") from error
    if unexpected:
        raise ModelError(
            f"{where} does not fit {type(merged).__name__}: it has {len(unexpected)} parameters that are not part of "
            f"it, first {unexpected[0]!r}; name the base model that the adapter was trained on"
        )
    if merged.state_dict().keys() != names:
        raise ModelError(f"{where} has an adapter of type {_kind(config)}, which peft cannot merge completely")
    return merged.requires_grad_(requires_grad=False), notes


def _kind(config: Any) -> str:
    return str(getattr(config.peft_type, "value", config.peft_type))


def _check_names(expected: StateDict, weights: StateDict, where: str) -> None:
    """Refuse an adapter of which peft would leave parameters at their random initial values."""
    missing = sorted(expected.keys() - weights.keys())
    shapes = [
        f"{name!r} with {tuple(weights[name].shape)} for {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & weights.keys())
        if weights[name].shape != expected[name].shape
    ]
    parts = [f"lacks {len(missing)} of {len(expected)} parameters, first {missing[0]!r}"] if missing else []
    parts += [f"has {len(shapes)} of another shape, first {shapes[0]}"] if shapes else []
    if parts:
        raise ModelError(f"{where}: it {'; '.join(parts)}; name the base model that the adapter was trained on")


def _without_unused(adapted: Any) -> tuple[str, ...]:
    """Remove the adapters that torch's own attention does not use, which merging would bring into effect.

    `torch.nn.MultiheadAttention` reads the weight of its output projection without calling that layer, so an adapter
    there changes nothing, neither in training nor after it. If peft adapts the attention as a whole, it sees to this.
    """
    layer: Any = importlib.import_module("peft.tuners.tuners_utils").BaseTunerLayer
    whole = {id(one.get_base_layer()) for one in adapted.modules() if isinstance(one, layer)}
    unused: list[Any] = [
        one
        for one in adapted.modules()
        if isinstance(one, torch.nn.MultiheadAttention) and id(one) not in whole and isinstance(one.out_proj, layer)
    ]
    for attention in unused:
        attention.out_proj = attention.out_proj.get_base_layer()
    if not unused:
        return ()
    return (f"{len(unused)} adapters of out_proj are not used: torch.nn.MultiheadAttention does not call that layer",)


def _base_notes(settings: Mapping[str, Any], spec: ModelSpec) -> tuple[str, ...]:
    """Return a note if the adapter says that it was trained on a model of another name."""
    stated = str(settings.get("base_model_name_or_path") or "").rstrip("/")
    own = spec.name.rstrip("/")
    if not stated or stated.rpartition("/")[2] == own.rpartition("/")[2]:
        return ()
    return (f"the adapter names {one_line(stated)} as its base model: used {one_line(own)}",)
