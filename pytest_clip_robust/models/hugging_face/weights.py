"""Parameters of models of transformers: complete and finite, and no code of their own unless the user allowed it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.utils import logging as transformers_logging

from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.checkpoint import check_finite
from pytest_clip_robust.models.hugging_face.folder import weight_files
from pytest_clip_robust.models.hugging_face.images import MAJOR
from pytest_clip_robust.models.hugging_face.settings import counting, lasting
from pytest_clip_robust.models.memory import check_memory
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.text import one_line

UNUSED_HEADS = ("pooler.dense.weight", "pooler.dense.bias")
"""Parameters of BERT's own pooling, which checkpoints have and towers with a projection of their own do not use."""


def check_known(content: dict[str, Any], spec: ModelSpec) -> None:
    """Check, by a model's config and before anything large is fetched, that transformers can load it.

    Raises:
        ModelError: its weights are quantised, or this transformers does not know its type and its own code may not run.
    """
    where = f"model {spec.label}"
    if quantisation := content.get("quantization_config"):
        method = quantisation.get("quant_method", "") if isinstance(quantisation, dict) else ""
        raise ModelError(f"{where}: its weights are quantised ({method or 'unknown'}); save it as fp32, bf16 or fp16")
    kind = content.get("model_type")
    if runs_code(content, spec):
        return
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        near = did_you_mean(kind, CONFIG_MAPPING.keys()) if isinstance(kind, str) else ""
        if "auto_map" in content:
            raise ModelError(
                f"{where}: model type {kind!r} would run Python code of its repository; read that code, then allow it "
                "with ?remote_code=true, or load the model in your own function with py:"
            )
        raise ModelError(
            f"{where}: transformers {transformers.__version__} has no model type {kind!r}{near}; upgrade it, or load "
            "the model in your own function with py:"
        )


def runs_code(content: dict[str, Any], spec: ModelSpec) -> bool:
    """Return whether the model's own code is used: only if the spec allows it and transformers lacks the type."""
    allowed = spec.option("remote_code") == "true"
    return allowed and "auto_map" in content and content.get("model_type") not in CONFIG_MAPPING


def load_complete(
    folder: Path,
    spec: ModelSpec,
    *,
    class_of: Callable[[type], Any],
    code: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, list[str]]:
    """Return the model of a complete folder, in evaluation mode on the CPU, and notes on what was not used.

    class_of: returns the model's class, or an AutoModel, for the class of its config. code: whether the folder's own
        Python code runs. dtype: the type of the parameters.

    Raises:
        ModelError: the parameters do not fit into memory, cannot be read, are not all there, or are not finite.
    """
    where = f"model {spec.label}"
    check_memory(weight_files(folder), f"{where}: {folder}", bytes_each=dtype.itemsize)
    common = {"trust_remote_code": code, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        config.return_dict = True
        precision = {"dtype" if MAJOR >= 5 else "torch_dtype": dtype}
        options = {**(common if code else {"local_files_only": True}), **precision}
        model, found = class_of(type(config)).from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True, weights_only=True, **options
        )
    except Exception as error:  # transformers, safetensors and torch raise errors of many kinds
        raise ModelError(
            f"{where}: {folder} cannot be loaded, it is damaged or truncated: {type(error).__name__}: {one_line(error)}"
        ) from error
    notes = _check_complete(model, found, f"{where}: {folder}")
    check_finite(model.state_dict(), f"{where}: {folder}")
    return model.eval().requires_grad_(requires_grad=False), notes


def architecture(model: Any, folder: Path, spec: ModelSpec) -> object:
    """Return the settings that shape features in addition to the parameters, such as the activation function.

    Code of the model's own may read any entry of its config, so that all of them count, and so does the code.
    """
    code = sorted(folder.glob("*.py")) if spec.option("remote_code") == "true" else []
    sources = [hashlib.sha256(file.read_bytes()).hexdigest() for file in code]
    settings = lasting(model.config.to_dict()) if code else counting(model.config)
    return [type(model).__name__, settings, sources]


@contextmanager
def no_progress() -> Iterator[None]:
    """Hide the progress bars with which transformers reads weights."""
    logs: Any = transformers_logging
    shown = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logs.enable_progress_bar()


def _check_complete(model: Any, found: dict[str, Any], where: str) -> list[str]:
    """Refuse what from_pretrained would replace with random numbers or leave out without an error."""
    buffers = {name for name, _ in model.named_buffers()}
    missing = sorted(found["missing_keys"])
    mismatched = sorted(_names(found["mismatched_keys"]))
    unexpected = sorted(name for name in found["unexpected_keys"] if name not in buffers)
    heads = [name for name in unexpected if name.endswith(UNUSED_HEADS)]
    unknown = [name for name in unexpected if name not in heads]
    parts = [
        f"{verb} {len(names)} parameters{what}, first {names[0]!r}"
        for verb, names, what in (
            ("lacks", missing, ""),
            ("has", mismatched, " of another shape"),
            ("has", unknown, " that are not part of the model"),
        )
        if names
    ]
    if parts:
        raise ModelError(
            f"{where} does not fit {type(model).__name__}: it {'; '.join(parts)}; a model that is partly random is "
            "never evaluated"
        )
    return [f"{len(heads)} parameters are not used by {type(model).__name__}, first {heads[0]!r}"] if heads else []


def _names(keys: Iterable[Any]) -> list[str]:
    """Return the names of mismatched parameters, which come with or without their two shapes."""
    return [key if isinstance(key, str) else key[0] for key in keys]
