"""Sources of a timm classifier, its weights and settings: a tag, a checkpoint, a folder or a repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import yaml

from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import exists, is_file, is_folder, read_json, user_path
from pytest_clip_robust.system.hub import HubError, cached_or_fetched
from pytest_clip_robust.system.text import one_line

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The weights of a folder or repository, in timm's order."""
TRAINING_ARGUMENTS = "args.yaml"
"""What timm's training script writes next to its checkpoints."""
PREPROCESSING = ("img_size", "input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
WAYS_OUT = "give a checkpoint (timm:NAME@FILE) or a folder, or fill the cache on a machine that can reach the hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One classifier: what `timm.create_model` is called with, and its weights.

    name: timm's name of the architecture, with or without a tag, or ``local-dir:FOLDER``. checkpoint: a local file.
    arguments: options of the training run that change the preprocessing. notes: remarks on what the spec left open.
    """

    name: str
    checkpoint: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_source(spec: ModelSpec) -> Source:
    """Return the source that `spec` names; published weights are fetched unless they are cached.

    Raises:
        ModelError: there is no such model, folder or checkpoint, or the hub cannot be reached.
    """
    where = f"model {spec.label}"
    folder = user_path(spec.name)
    if is_folder(folder):
        return _from_folder(folder, spec, where)
    if "/" in spec.name and not exists(folder):
        return _from_repository(spec, where)
    architecture = spec.name.partition(".")[0]
    if not timm.is_model(architecture):
        if exists(folder):
            raise ModelError(f"{where}: {folder} is a file; write timm:ARCHITECTURE@{spec.name}")
        near = did_you_mean(architecture, timm.list_models())
        raise ModelError(f"{where}: timm has no model {architecture!r}{near}; write timm:NAME@FILE or timm:FOLDER")
    _check_tag(spec, where)
    if spec.weights:
        return _from_checkpoint(spec, where)
    return _from_tag(spec, where)


def _check_tag(spec: ModelSpec, where: str) -> None:
    architecture, dot, tag = spec.name.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        raise ModelError(
            f"{where}: {architecture} has no tag {tag!r}{did_you_mean(tag, tags)}; its tags are "
            f"{', '.join(tags) or 'none'}"
        )


def _from_checkpoint(spec: ModelSpec, where: str) -> Source:
    checkpoint = user_path(spec.weights)
    if is_folder(checkpoint):
        raise ModelError(f"{where}: {checkpoint} is a folder; name a file in it, or write timm:{spec.weights}")
    arguments = _training_arguments(checkpoint.with_name(TRAINING_ARGUMENTS), where)
    trained_as = str(arguments.get("model") or spec.name)
    if trained_as.partition(".")[0] != spec.name.partition(".")[0]:
        raise ModelError(
            f"{where}: its {TRAINING_ARGUMENTS} says that it was trained as {trained_as}; write "
            f"timm:{trained_as}@{spec.weights}"
        )
    settings = {name: arguments[name] for name in PREPROCESSING if arguments.get(name)}
    return Source(name=spec.name, checkpoint=checkpoint, arguments=settings)


def _training_arguments(path: Path, where: str) -> dict[str, Any]:
    if not is_file(path):
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{where}: {path} cannot be read: {one_line(error)}") from error
    return content if isinstance(content, dict) else {}


def _from_folder(folder: Path, spec: ModelSpec, where: str) -> Source:
    config = _read_config(folder, where)
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        kind = config.get("model_type")
        other = f"; it is a model of transformers: write hf:{spec.name}" if kind else ""
        raise ModelError(f"{where}: {folder / CONFIG} names no architecture of timm: {architecture!r}{other}")
    if spec.weights:
        checkpoint = next((path for path in (folder / spec.weights, user_path(spec.weights)) if is_file(path)), None)
        if checkpoint is None:
            raise ModelError(f"{where}: no file {spec.weights!r}, in {folder} or as a path")
        return Source(name=f"local-dir:{folder}", checkpoint=checkpoint)
    found = [folder / name for name in WEIGHTS if is_file(folder / name)]
    if not found:
        raise ModelError(f"{where}: {folder} has no weights; expected {' or '.join(WEIGHTS)}")
    return Source(name=f"local-dir:{folder}", checkpoint=found[0])


def _read_config(folder: Path, where: str) -> dict[str, Any]:
    if not is_file(folder / CONFIG):
        raise ModelError(f"{where}: {folder} has no {CONFIG}; expected a folder that timm's save_for_hf wrote")
    content: dict[str, Any] = read_json(folder / CONFIG, dict, where, error=ModelError)
    return content


def _from_repository(spec: ModelSpec, where: str) -> Source:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", spec.name):
        raise ModelError(
            f"{where}: no folder {user_path(spec.name)}; write timm:FOLDER or timm:ORGANISATION/REPOSITORY"
        )
    try:
        folder = cached_or_fetched(spec.name, [CONFIG]).parent
        _read_config(folder, where)
        if not spec.weights:
            cached_or_fetched(spec.name, WEIGHTS)
    except HubError as error:
        raise ModelError(f"{where}: {one_line(error)}; {WAYS_OUT}") from error
    return _from_folder(folder, spec, where)


def _from_tag(spec: ModelSpec, where: str) -> Source:
    settings = timm.get_pretrained_cfg(spec.name)
    if settings is None or not settings.has_weights:
        raise ModelError(
            f"{where}: no published weights for {spec.name}, and a randomly initialised model is never evaluated; "
            f"write timm:{spec.name}@FILE"
        )
    notes = []
    name = spec.name if "." in spec.name or not settings.tag else f"{spec.name}.{settings.tag}"
    if name != spec.name:
        tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{spec.name}.*")]
        notes.append(f"no weights named: took {name}; its tags are {', '.join(tags)}")
    if not settings.hf_hub_id:
        raise ModelError(
            f"{where}: the weights of {name} are not on the hub; download {settings.url}, and write {spec}@FILE"
        )
    try:
        files = (settings.hf_hub_filename,) if settings.hf_hub_filename else WEIGHTS
        checkpoint = cached_or_fetched(settings.hf_hub_id, files)
    except HubError as error:
        raise ModelError(f"{where}: no weights {name}: {one_line(error)}; {WAYS_OUT}") from error
    return Source(name=name, checkpoint=checkpoint, notes=tuple(notes))
