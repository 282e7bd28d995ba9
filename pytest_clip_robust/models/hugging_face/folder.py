"""The folder of a model of transformers, in place or fetched from the hub, complete before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.shards import named_shards
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.models.training_folders import advice
from pytest_clip_robust.system.files import exists, is_file, is_folder, read_json, user_path
from pytest_clip_robust.system.hub import HubError, cached_or_fetched, files_of
from pytest_clip_robust.system.text import one_line

CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
ADAPTER_CONFIG = "adapter_config.json"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""The settings of the image processor: in a file of their own, or with those of the tokenizer."""
VOCABULARIES = re.compile(r"tokenizer\.json|vocab\.(json|txt)|[\w.-]+\.(model|spm)")
WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
WHOLE_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SETTINGS = re.compile(r"[\w.-]+\.(json|txt|model|spm|jinja)")
LARGEST_CONFIG = 2**26
"""The largest config that is read, in bytes."""


def read_config(spec: ModelSpec) -> dict[str, Any]:
    """Return the content of a model's ``config.json``; nothing else is fetched.

    Raises:
        ModelError: there is no such folder or repository, the hub cannot be reached, or it has no valid config.
    """
    folder = _local(spec)
    where = f"model {spec.label}"
    if folder is not None:
        _check_config_exists(folder, where)
        return _read_config(folder / CONFIG, where)
    try:
        return _read_config(cached_or_fetched(spec.name, [CONFIG], revision=spec.option("revision")), where)
    except HubError as error:
        clip = spec.kind == "hf" and CONFIG in str(error)
        other = f"; for a model of open_clip write hf-hub:{spec.name}" if clip else ""
        raise ModelError(f"{where}: {one_line(error)}{other}; {_ways_out(spec)}") from error


def model_folder(spec: ModelSpec) -> Path:
    """Return the folder with all files of a model; those of a repository are fetched unless the cache has them all.

    Raises:
        ModelError: a file that the model needs is missing, or the hub cannot be reached.
    """
    where = f"model {spec.label}"
    folder = _local(spec)
    if folder is None:
        try:
            folder = _fetched(spec)
        except HubError as error:
            raise ModelError(f"{where}: {one_line(error)}; {_ways_out(spec)}") from error
    if problem := _missing(folder):
        raise ModelError(f"{where}: {folder} {problem}")
    if exists(folder / ADAPTER_CONFIG):  # transformers would load the base model that it names in place of this one
        raise ModelError(
            f"{where}: {folder} holds a model and an adapter: write BASE+adapter:{folder} for the adapter, or remove "
            f"{ADAPTER_CONFIG} if the model is already merged"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a complete folder that transformers reads weights from: safetensors if there are any."""
    names = [path.name for path in folder.iterdir() if WEIGHTS.fullmatch(path.name)]
    safe = [name for name in names if name.endswith(".safetensors")] or names
    return [folder / name for name in safe if name in WHOLE_FILES] or [folder / name for name in sorted(safe)]


def _local(spec: ModelSpec) -> Path | None:
    """Return the folder that a spec names, or None if it names a repository."""
    path = user_path(spec.name)
    where = f"model {spec.label}"
    if is_folder(path):
        if spec.option("revision"):
            raise ModelError(f"{where}: a folder has no revisions; remove ?revision={spec.option('revision')}")
        return path
    if exists(path):
        raise ModelError(f"{where}: {path} is a file; expected a folder or a repository of the hub")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", spec.name):
        raise ModelError(f"{where}: no folder {path}; write {spec.kind}:FOLDER or {spec.kind}:ORGANISATION/REPOSITORY")
    return None


def _ways_out(spec: ModelSpec) -> str:
    return f"give a folder ({spec.kind}:FOLDER), or fill the cache on a machine that can reach the hub"


def _check_config_exists(folder: Path, where: str) -> None:
    if is_file(folder / CONFIG):
        return
    if exists(folder / OPEN_CLIP_CONFIG):
        raise ModelError(f"{where}: {folder} is a folder of open_clip: write local-dir:{folder}")
    if what := advice(folder):
        raise ModelError(f"{where}: {folder} {what}")
    raise ModelError(f"{where}: {folder} has no {CONFIG}; expected a folder that save_pretrained wrote")


def _read_config(path: Path, where: str) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_CONFIG:
        raise ModelError(f"{where}: {path} has {path.stat().st_size / 2**20:,.0f} MiB; expected a config")
    content: dict[str, Any] = read_json(path, dict, where, error=ModelError)
    return content


def _missing(folder: Path) -> str:
    """Return which of the files that every model needs a folder lacks, or ``""``."""
    names = [path.name for path in folder.iterdir() if is_file(path)]
    if not any(WEIGHTS.fullmatch(name) for name in names):
        return advice(folder) or "has no weights; expected model.safetensors"
    index = next((name for name in INDEX_FILES if name in names), "")
    if not index and not any(name in names for name in WHOLE_FILES):
        return f"has shards without their index; copy {INDEX_FILES[0]} as well"
    if lacking := _missing_shards(folder, names):
        return f"lacks {len(lacking)} of the files that its index names, first {lacking[0]}"
    if not any(name in names for name in PROCESSOR_FILES):
        return f"has no {PROCESSOR_FILES[0]}; copy it from the model that this one was trained from"
    if not any(VOCABULARIES.fullmatch(name) for name in names):
        return "has no tokenizer files; copy them from the model that this one was trained from"
    return ""


def _missing_shards(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the shards that an index names and that are not in the folder, unless its weights are in one file."""
    have = set(names)
    for index, whole in zip(INDEX_FILES, WHOLE_FILES, strict=True):
        if whole in have:
            return []
        if index in have:
            return sorted(set(named_shards(folder / index, str(folder / index)).values()) - have)
    return []


def _fetched(spec: ModelSpec) -> Path:
    """Return the cached folder of a repository, after fetching what it lacks.

    Raises:
        HubError: something is missing, and the hub cannot be reached or fails.
    """
    revision = spec.option("revision")
    folder = cached_or_fetched(spec.name, [CONFIG], revision=revision).parent
    code = spec.option("remote_code") == "true"
    if _missing(folder) or (code and not any(folder.glob("*.py"))):
        for name in _wanted(files_of(spec.name, revision=revision), code=code):
            folder = cached_or_fetched(spec.name, [name], revision=revision).parent
    return folder


def _wanted(names: list[str], *, code: bool) -> list[str]:
    """Return the files to fetch: settings, and the weights as safetensors, or else as a torch file."""
    weights = [name for name in names if WEIGHTS.fullmatch(name)]
    safe = [name for name in weights if name.endswith(".safetensors")]
    settings = [name for name in names if SETTINGS.fullmatch(name) or (code and name.endswith(".py"))]
    return settings + (safe or weights)
