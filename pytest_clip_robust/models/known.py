"""Models that earlier runs have loaded: what these found is enough for a run that computes nothing with the model.

A model is known by everything that a load depends on: its spec, the content of all of its files, device and precision,
the releases of the libraries, and the code of the loaders. Where one of these is not certain before the model is
loaded, as with the newest commit of a repository, the model is loaded in every run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from pytest_clip_robust import showroom
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.card.facts import ModelCard
from pytest_clip_robust.models.card.reading import OPEN_CLIP_CONFIG
from pytest_clip_robust.models.deferred import DeferredDualEncoder, DeferredMultimodal, TextResults
from pytest_clip_robust.models.open_clip.training import params_file
from pytest_clip_robust.models.protocols import (
    AnswersQuestions,
    DualEncoder,
    EncodesDensely,
    KnowsItsContext,
    LoadedModel,
    PreprocessesInSteps,
)
from pytest_clip_robust.models.spec import LMM, OPEN_CLIP, ModelSpec
from pytest_clip_robust.system.files import is_file, is_folder, json_object, user_path, write_whole
from pytest_clip_robust.system.modules import package_file
from pytest_clip_robust.system.versions import installed_versions, is_working_copy

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "tokenizers", "safetensors", "pillow")
MOST_FILES = 100
FOLDERS = frozenset({"local-dir", "hf", LMM})
"""The kinds of models that are a folder with everything in it."""
DIGESTS = ("weights", "preprocess", "text")
PLAIN = (*DIGESTS, "precision", "device", "compiled")
"""What a model is known by, and its other plain fields."""
OF_HUB = ("hf_model_name", "hf_tokenizer_name")
"""Settings of open_clip that name a repository, the second one for folders without a tokenizer."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class KnownModels:
    """Loads models; what it finds is kept in `folder`, and read there by later runs. None keeps nothing.

    loading: entered while a model is loaded, or its record read.
    """

    def __init__(
        self, folder: Path | None, *, loading: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._folder, self._loading = folder, loading
        self._texts: dict[Path, TextResults] = {}

    def load(self, spec: ModelSpec, *, device: str, precision: str, compiled: bool) -> LoadedModel:
        """Return a model as `load_model` does; one that is known is loaded when something is computed with it.

        Raises:
            ModelError: it cannot be loaded, or fails its checks. If its files changed since the run began, the error is
                raised where the model is used.
        """
        with self._loading():
            return self._load(spec, device=device, precision=precision, compiled=compiled)

    def close(self) -> None:
        """Keep what tokenizers said of texts, in addition to what other processes have kept meanwhile."""
        for file, texts in self._texts.items():
            if texts.grown:
                _write(file, _read(file) | texts.found)

    def _load(self, spec: ModelSpec, *, device: str, precision: str, compiled: bool) -> LoadedModel:
        load = partial(_load_model, spec, device=device, precision=precision, compiled=compiled)
        files, libraries = files_of(spec) if self._folder else None, releases()
        if self._folder is None or files is None or libraries is None:
            return load()
        try:
            states, contents = _states(files), _contents(files)
        except OSError:
            return load()  # which says what is wrong with the file
        key = digest([str(spec), device, precision, compiled, contents, libraries, _loaders()])
        record, texts = self._folder / f"{key}.json", self._texts_in(self._folder / f"{key}.texts.json")
        if facts := _read(record):
            return _deferred(spec, facts, lambda: self._later(load, facts, record), texts)
        loaded = load()
        if not _can_wait(loaded) or _changed(files, states):
            return loaded
        facts = _facts(loaded)
        _write(record, facts)
        return _deferred(spec, facts, lambda: loaded, texts)

    def _later(self, load: Callable[[], LoadedModel], facts: dict[str, Any], record: Path) -> LoadedModel:
        with self._loading():
            return _same(load(), facts, record)

    def _texts_in(self, file: Path) -> TextResults:
        return self._texts.setdefault(file, TextResults(_read(file)))


def _load_model(spec: ModelSpec, *, device: str, precision: str, compiled: bool) -> LoadedModel:
    from pytest_clip_robust.models.loading import load_model  # noqa: PLC0415 - imports torch

    return load_model(spec, device=device, precision=precision, compiled=compiled)


def _deferred(
    spec: ModelSpec, facts: dict[str, Any], load: Callable[[], LoadedModel], texts: TextResults
) -> LoadedModel:
    encoder = DeferredMultimodal if "tower" in facts else DeferredDualEncoder
    return LoadedModel(
        spec=spec,
        encoder=encoder(facts, lambda: load().encoder, texts),
        **{name: facts[name] for name in PLAIN},
        notes=tuple(facts["notes"]),
        card=ModelCard(**{**facts["card"], "remarks": tuple(facts["card"]["remarks"])}),
    )


def files_of(spec: ModelSpec) -> list[Path] | None:
    """Return all files that a model is loaded from, or None if that is not certain before it is loaded."""
    if spec.adapter or spec.option("remote_code") == "true":
        return None
    if folder := _folder_of(spec):
        return _files_in(folder) if _has_its_texts(folder) else None
    # A project that has imported open_clip may have registered an architecture under a name that it ships.
    if spec.kind != OPEN_CLIP or not spec.has_checkpoint or "open_clip" in sys.modules:
        return None
    config, checkpoint = _shipped_config(spec.name), user_path(spec.weights)
    if config is None or not is_file(checkpoint) or checkpoint.suffix == ".json":
        return None
    options = params_file(checkpoint)
    return [config, checkpoint, *([] if options is None else [options])]


def _folder_of(spec: ModelSpec) -> Path | None:
    """Return the folder that holds a whole model, or None."""
    if spec.weights:
        return None
    if spec.kind == OPEN_CLIP and spec.name in showroom.model_names():
        return showroom.model_folder(spec.name)
    if spec.kind == LMM and spec.name in showroom.lmm_names():
        return showroom.lmm_folder(spec.name)
    folder = user_path(spec.name)
    return folder.resolve() if spec.kind in FOLDERS and is_folder(folder) else None


def _files_in(folder: Path) -> list[Path] | None:
    """Return the files of a folder; None if it has other folders, such as those of a trainer's checkpoints."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return None
    return None if len(found) > MOST_FILES or any(map(is_folder, found)) else found


def _has_its_texts(folder: Path) -> bool:
    texts = json_object(folder / OPEN_CLIP_CONFIG).get("model_cfg", {}).get("text_cfg", {})
    of_hub, its_tokenizer = (texts.get(name) for name in OF_HUB)
    return not of_hub and (not its_tokenizer or any(is_file(folder / name) for name in TOKENIZER_FILES))


def _shipped_config(name: str) -> Path | None:
    """Return the file of an architecture of open_clip that has open_clip's own tokenizer, or None."""
    try:
        path = package_file("open_clip", f"model_configs/{name.replace('/', '-')}.json")
    except FileNotFoundError:
        return None
    texts = json_object(path).get("text_cfg", {})
    return path if not any(texts.get(setting) for setting in OF_HUB) else None


@cache
def releases() -> dict[str, str] | None:
    """Return the releases of the libraries that load models, or None if one is a working copy, which has none."""
    return None if any(map(is_working_copy, LIBRARIES)) else installed_versions(LIBRARIES)


@cache
def _loaders() -> str:
    """Return a digest of the code that loads and checks models."""
    return digest([path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.rglob("*.py"))])


def _contents(files: Sequence[Path]) -> list[str]:
    """Return the names and digests of files.

    Raises:
        OSError: one cannot be read.
    """
    found = []
    for file in files:
        with file.open("rb") as opened:
            found += [str(file), hashlib.file_digest(opened, "sha256").hexdigest()]
    return found


def _states(files: Sequence[Path]) -> list[tuple[int, int, int]]:
    """Return what changes when a file is written or replaced.

    Raises:
        OSError: one cannot be read.
    """
    states = (file.stat() for file in files)
    return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in states]


def _changed(files: Sequence[Path], states: list[tuple[int, int, int]]) -> bool:
    try:
        return _states(files) != states
    except OSError:
        return True


def _can_wait(loaded: LoadedModel) -> bool:
    """Return whether there is a deferred encoder with all abilities of a model's own."""
    abilities = (DualEncoder, EncodesDensely, KnowsItsContext, PreprocessesInSteps)
    return isinstance(loaded.encoder, AnswersQuestions) or all(isinstance(loaded.encoder, one) for one in abilities)


def _facts(loaded: LoadedModel) -> dict[str, Any]:
    """Return what is kept of a model, as JSON."""
    encoder = loaded.encoder
    own = ("tower",) if isinstance(encoder, AnswersQuestions) else ("scale", "bias")
    return {
        **{name: getattr(loaded, name) for name in PLAIN},
        "notes": list(loaded.notes),
        "card": loaded.card.plain(),
        **{name: getattr(encoder, name) for name in ("identity", *own)},
    }


def _same(loaded: LoadedModel, facts: dict[str, Any], record: Path) -> LoadedModel:
    """Return a model that was loaded after the run began, if it is the one that the run took it for.

    Raises:
        ModelError: it is another one.
    """
    now = _facts(loaded)
    if different := [name for name in DIGESTS if now[name] != facts[name]]:
        record.unlink(missing_ok=True)
        raise ModelError(
            f"model {loaded.spec.label}: its {' and '.join(different)} changed after this run began: run again"
        )
    return loaded


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write what later runs can do without, so that a full disk is not an error."""
    with suppress(OSError):
        write_whole(file, json.dumps({"content": content, "digest": digest(content)}).encode())


def _read(file: Path) -> dict[str, Any]:
    """Return what `_write` wrote; {} if there is no such file, or if it is damaged."""
    stored = json_object(file)
    content = stored.get("content")
    return content if isinstance(content, dict) and digest(content) == stored.get("digest") else {}
