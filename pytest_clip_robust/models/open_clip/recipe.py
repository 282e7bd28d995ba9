"""Recipes: what open_clip needs to build the model of a spec as it was trained.

Four things can be wrong without an error: the activation function (QuickGELU or GELU), the preprocessing, the image and
context size, and random weights in place of missing ones. Each is determined here, or refused in one line that says how
to state it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.checkpoint import check_readable
from pytest_clip_robust.models.open_clip.families import family_preprocess, preprocess_of, published_preprocess
from pytest_clip_robust.models.open_clip.training import TrainingRun, training_run
from pytest_clip_robust.models.shards import INDEX_SUFFIX, without_shards
from pytest_clip_robust.models.spec import CHECKPOINT_SUFFIXES, OPEN_CLIP, ModelSpec
from pytest_clip_robust.models.training_folders import advice
from pytest_clip_robust.system.files import exists, is_file, is_folder, read_json, user_path
from pytest_clip_robust.system.hub import HubError, cached_or_fetched
from pytest_clip_robust.system.text import one_line, printable

PREFERRED_TAGS = ("openai", "laion2b", "datacomp", "webli", "metaclip", "dfn")
"""The default tag of an architecture is the first that starts with one of these, in this order, else its first."""

CONFIG_FILE = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
"""The weights of a hub repository, in the order in which open_clip tries them."""
WEIGHT_FILES = (
    *HUB_FILES,
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""The weights of a folder, in the order in which open_clip prefers them."""
NOT_WEIGHTS = re.compile(r"optimizer|scheduler|scaler|training_args|random_states|rng_state", re.IGNORECASE)
"""Names of other files that trainers store next to the weights."""
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (TOKENIZER_CONFIG, "tokenizer.json", "vocab.txt", "special_tokens_map.json", "spiece.model")
QUICKGELU_SUFFIX = "-quickgelu"
"""How open_clip ends the name of an architecture that exists with GELU, too."""
LARGEST_CONFIG = 2**26
"""The largest config that is read, in bytes."""
WAYS_OUT = (
    "give a checkpoint (ARCH@FILE) or a folder (local-dir:DIR), or fill the cache on a machine that can reach the hub"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The settings that one model is built with.

    name: open_clip's name of the architecture (``ViT-B-32`` or ``local-dir:...``).
    checkpoint: a local file with all parameters. wanted: which model in it to use, if it has several.
    overrides: keyword arguments of `open_clip.create_model`, such as ``quick_gelu``.
    preprocess: settings that differ from the config's, or from OpenAI's transform if it has none.
    notes: one-line remarks on what the spec left open.
    """

    name: str
    checkpoint: Path
    wanted: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recipe_for(spec: ModelSpec) -> Recipe:
    """Determine what `spec` leaves open, and fetch the weights if they are on the hub.

    Raises:
        ModelError: the architecture, tag, folder or checkpoint does not exist, the hub cannot be reached, the
            activation function of a checkpoint is not known, or the model would run its own Python code.
    """
    if spec.kind == "local-dir":
        return _from_folder(user_path(spec.name), spec)
    if spec.kind == "hf-hub":
        return _from_hub(spec)
    if spec.name in showroom.model_names() and not spec.weights:
        return _from_folder(showroom.model_folder(spec.name), spec)
    name = _architecture(spec)
    return _from_checkpoint(spec, name) if spec.has_checkpoint else _from_tag(spec, name)


def _architecture(spec: ModelSpec) -> str:
    """Return the name of a built-in architecture, or of one from a JSON file, which is registered with open_clip."""
    if not spec.name.endswith(".json"):
        name = spec.name.replace("/", "-")
        known = open_clip.list_models()
        if name not in known:
            near = did_you_mean(name, [*showroom.model_names(), *known])
            raise ModelError(
                f"model {spec.label}: open_clip has no architecture {spec.name!r}{_how_to_write(spec.name) or near}"
            )
        return name
    path = user_path(spec.name)
    config = _read_json(path, spec)
    if "model_cfg" in config:
        raise ModelError(
            f"model {spec.label}: {path} is the config of a model folder; name it {CONFIG_FILE} and write "
            f"local-dir:{path.parent}@{spec.weights or 'CHECKPOINT'}"
        )
    lacking = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if lacking:
        raise ModelError(f"model {spec.label}: {path} lacks {', '.join(lacking)}; expected an open_clip model config")
    _check_config(config, path, spec)
    known_config = open_clip.get_model_config(path.stem)
    if known_config is None:
        open_clip.add_model_config(path)
    elif known_config != config:
        raise ModelError(f"model {spec.label}: open_clip has a different architecture {path.stem!r}; rename the file")
    return path.stem


def _how_to_write(name: str) -> str:
    """Return how to write a spec for a path that was given instead of one, or ``""`` if it is not a path."""
    path = user_path(name)
    if is_folder(path):
        if what := advice(path):
            return f", but a folder exists, which {what}"
        return f", but a folder exists: write {'hf' if of_transformers(path) else 'local-dir'}:{name}"
    if name.endswith(".py"):
        return f": for a Python file write py:{name}:FACTORY"
    if name.endswith(CHECKPOINT_SUFFIXES) or exists(path):
        return f": for a checkpoint write ARCHITECTURE@{name}, such as ViT-B-32@{name}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return f": for a repository of the hub write hf-hub:{name} (open_clip) or hf:{name} (transformers)"
    return ""


def of_transformers(folder: Path) -> bool:
    """Return whether a folder has the config of transformers and not that of open_clip."""
    return is_file(folder / TRANSFORMERS_CONFIG) and not exists(folder / CONFIG_FILE)


def _from_tag(spec: ModelSpec, name: str) -> Recipe:
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        raise ModelError(
            f"model {spec.label}: no published weights for {name}, and a randomly initialised model is never "
            f"evaluated; write {spec.name}@CHECKPOINT"
        )
    notes = []
    tag = spec.weights
    if not tag:
        tag = default_tag(tags)
        notes.append(f"no weights named: took {name}@{tag}; its tags are {', '.join(tags)}")
    settings = open_clip.get_pretrained_cfg(name, tag)
    if not settings:
        raise ModelError(
            f"model {spec.label}: {name} has no tag {tag!r}{did_you_mean(tag, tags)}; its tags are {', '.join(tags)}; "
            "the path of a file must contain a '/' or end in a suffix such as .pt"
        )
    quick_gelu = bool(settings.get("quick_gelu", False))
    overrides = {}
    if quick_gelu != _config_quick_gelu(name):
        overrides["quick_gelu"] = quick_gelu
        activation = "QuickGELU" if quick_gelu else "GELU"
        notes.append(f"{name}@{tag} was trained with {activation}, unlike {name}'s own config: took {activation}")
    try:
        checkpoint = _published_weights(settings)
    except (HubError, OSError, RuntimeError) as error:
        raise ModelError(f"model {spec.label}: no weights {name}@{tag}: {one_line(error)}; {WAYS_OUT}") from error
    return Recipe(
        name=name, checkpoint=checkpoint, overrides=overrides, preprocess=preprocess_of(settings), notes=tuple(notes)
    )


def _published_weights(settings: Mapping[str, Any]) -> Path:
    """Fetch a tag's weights as open_clip does: from the hub, as safetensors if possible, else from a URL."""
    if not settings.get("hf_hub"):
        return Path(open_clip.download_pretrained_from_url(settings["url"]))
    repository, _, file = settings["hf_hub"].rpartition("/")
    file = file or HF_WEIGHTS_NAME
    safe = HF_SAFE_WEIGHTS_NAME if file == HF_WEIGHTS_NAME else str(Path(file).with_suffix(".safetensors"))
    return cached_or_fetched(repository, dict.fromkeys((safe, file)))


def default_tag(tags: list[str]) -> str:
    """Return the tag to use if the spec names none: see PREFERRED_TAGS.

    >>> default_tag(["laion400m_e32", "laion2b_s34b_b79k"])
    'laion2b_s34b_b79k'
    """
    for start in PREFERRED_TAGS:
        for tag in tags:
            if tag.startswith(start):
                return tag
    return tags[0]


def _from_checkpoint(spec: ModelSpec, name: str) -> Recipe:
    checkpoint = user_path(spec.weights)
    run = training_run(checkpoint, f"model {spec.label}")
    trained_as = run.model or name
    if _without_suffix(trained_as) != _without_suffix(name) and not spec.name.endswith(".json"):
        raise ModelError(
            f"model {spec.label}: its params.txt says that it was trained as {trained_as}; write "
            f"{trained_as}@{spec.weights}"
        )
    quick_gelu = _checkpoint_quick_gelu(spec, name, run)
    preprocess, notes = _checkpoint_preprocess(name, run)
    return Recipe(
        name=name,
        checkpoint=checkpoint,
        wanted=spec.option("weights") or "",
        overrides=_overrides(name, spec, run, quick_gelu=quick_gelu),
        preprocess=preprocess,
        notes=notes,
    )


def _without_suffix(name: str) -> str:
    plain = name if name.startswith(("hf-hub:", "local-dir:")) else name.replace("/", "-")
    return plain.removesuffix(QUICKGELU_SUFFIX)


def _overrides(name: str, spec: ModelSpec, run: TrainingRun, *, quick_gelu: bool) -> dict[str, Any]:
    """Return the arguments of `open_clip.create_model` that differ from the architecture's config."""
    config = open_clip.get_model_config(name) or {}
    overrides: dict[str, Any] = {}
    if quick_gelu != bool(config.get("quick_gelu", False)):
        overrides["quick_gelu"] = quick_gelu
    if run.sigmoid and "init_logit_bias" not in config:
        overrides["init_logit_bias"] = 0.0
    forced = dict(run.forced)
    if size := spec.option("image_size"):
        forced["force_image_size"] = int(size)
    usual = {
        "force_image_size": config.get("vision_cfg", {}).get("image_size", 224),
        "force_context_length": config.get("text_cfg", {}).get("context_length", 77),
        "force_custom_text": bool(config.get("custom_text", False)),
    }
    return overrides | {key: value for key, value in forced.items() if value != usual[key]}


def _checkpoint_quick_gelu(spec: ModelSpec, name: str, run: TrainingRun) -> bool:
    """Return whether a checkpoint was trained with QuickGELU, by the spec, its run's parameters, or its name.

    A run of plain ``ViT-B-32`` that started from ``openai`` had QuickGELU under open_clip 2 and GELU under 3, and its
    parameters do not contain the version.
    """
    stated = spec.option("quick_gelu")
    if stated is not None:
        return stated == "true"
    if run.quick_gelu:
        return True
    own = _config_quick_gelu(name)
    if name.endswith(QUICKGELU_SUFFIX) or spec.name.endswith(".json") or not _has_both_activations(name):
        return own
    if run.known:
        trained_as = run.model.replace("/", "-")
        start = open_clip.get_pretrained_cfg(trained_as, run.pretrained)
        if not start or bool(start.get("quick_gelu", False)) == _config_quick_gelu(trained_as):
            return _config_quick_gelu(trained_as)
    check_readable(user_path(spec.weights))  # a wrong path is to be corrected before a question is answered
    mark = "&" if spec.options else "?"
    raise ModelError(
        f"model {spec.label}: {name} exists with QuickGELU and with GELU, and nothing states which one the checkpoint "
        f"was trained with; write {spec}{mark}quick_gelu=true (OpenAI's weights and their fine-tunes) or ...=false"
    )


def _has_both_activations(name: str) -> bool:
    if f"{name}{QUICKGELU_SUFFIX}" in open_clip.list_models():
        return True
    own = _config_quick_gelu(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    return any(bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)) != own for tag in tags)


def _checkpoint_preprocess(name: str, run: TrainingRun) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the preprocessing that a checkpoint was trained with: its run's, else that of its architecture."""
    if run.known:
        start = open_clip.get_pretrained_cfg(run.model.replace("/", "-"), run.pretrained)
        return {**preprocess_of(start), **run.preprocess}, ()
    published = published_preprocess(name)
    if len(published) > 1:
        note = f"the published weights of {name} differ in preprocessing: used OpenAI's for the checkpoint"
        return {}, (note,)
    if published:
        return published[0], ()
    return family_preprocess(open_clip.get_model_config(name) or {}, name)


def _from_folder(folder: Path, spec: ModelSpec) -> Recipe:
    """Return the recipe of a folder with a config, and with weights unless the spec names a file."""
    if not is_folder(folder):
        raise ModelError(f"model {spec.label}: no folder {folder}")
    if of_transformers(folder):
        raise ModelError(
            f"model {spec.label}: {folder} has no {CONFIG_FILE}, but a {TRANSFORMERS_CONFIG} of transformers: write "
            f"hf:{spec.name}"
        )
    if not exists(folder / CONFIG_FILE) and (what := advice(folder)):
        raise ModelError(f"model {spec.label}: {folder} {what}")
    config = _read_json(folder / CONFIG_FILE, spec)
    model_config = config.get("model_cfg")
    if not isinstance(model_config, dict):
        raise ModelError(f"model {spec.label}: {folder / CONFIG_FILE} has no 'model_cfg'")
    _check_config(model_config, folder / CONFIG_FILE, spec)
    _check_tokenizer(folder, spec)
    stated = config.get("preprocess_cfg")
    preprocess, notes = ({}, ()) if stated else family_preprocess(model_config, f"{folder / CONFIG_FILE}")
    recipe = Recipe(
        name=f"local-dir:{folder}",
        checkpoint=folder,
        wanted=spec.option("weights") or "",
        preprocess=preprocess,
        notes=notes,
    )
    if spec.kind == OPEN_CLIP or not spec.weights:
        checkpoint, more = _weights_of(folder, spec)
        return replace(recipe, checkpoint=checkpoint, notes=(*notes, *more), overrides=_sizes(recipe, spec))
    checkpoint = _file_of(spec, folder)
    run = training_run(checkpoint, f"model {spec.label}")
    if spec.kind == "hf-hub" and run.model.startswith("hf-hub:") and run.model != f"hf-hub:{spec.name}":
        raise ModelError(
            f"model {spec.label}: its params.txt says that it was trained as {run.model}; write "
            f"{run.model}@{spec.weights}"
        )
    quick_gelu = run.quick_gelu or _config_quick_gelu(recipe.name)
    return replace(
        recipe,
        checkpoint=checkpoint,
        overrides=_overrides(recipe.name, spec, run, quick_gelu=quick_gelu),
        preprocess={**preprocess, **run.preprocess},
    )


def _sizes(recipe: Recipe, spec: ModelSpec) -> dict[str, Any]:
    return _overrides(recipe.name, spec, TrainingRun(), quick_gelu=_config_quick_gelu(recipe.name))


def _weights_of(folder: Path, spec: ModelSpec) -> tuple[Path, tuple[str, ...]]:
    """Return the file of weights that open_clip would choose in a folder, and a note if there are others."""
    ends = (*CHECKPOINT_SUFFIXES, INDEX_SUFFIX)
    files = [path.name for path in folder.iterdir() if path.name.endswith(ends) and not NOT_WEIGHTS.search(path.name)]
    names = without_shards(files)
    chosen = next((name for name in WEIGHT_FILES if name in names), names[0] if len(names) == 1 else "")
    if not chosen and names:
        raise ModelError(
            f"model {spec.label}: {folder} has {printable(', '.join(names))}; expected one file: choose it with "
            f"local-dir:{folder}@FILE"
        )
    if not chosen:
        what = advice(folder) or f"has no weights; expected one file, such as {WEIGHT_FILES[0]}"
        raise ModelError(f"model {spec.label}: {folder} {what}")
    others = [name for name in names if name != chosen]
    more = printable(", ".join(others))
    note = f"{folder} also has {more}: used {chosen}, as open_clip does; choose another with @FILE"
    return folder / chosen, (note,) if others else ()


def _file_of(spec: ModelSpec, folder: Path) -> Path:
    """Return the file that follows the ``@`` of a folder or repository: a path, or the name of a file in it."""
    path = user_path(spec.weights)
    inside = folder / spec.weights
    if exists(path) and exists(inside) and not path.samefile(inside):
        raise ModelError(f"model {spec.label}: {path} exists here and in {folder}; write the full path of one")
    if exists(path):
        return path
    if not exists(inside) and spec.kind == "hf-hub":
        with contextlib.suppress(HubError, OSError, ValueError):  # the text may not be the name of a file
            return cached_or_fetched(spec.name, [spec.weights])
    if not exists(inside):
        raise ModelError(f"model {spec.label}: no checkpoint {spec.weights}, neither as a path nor in {folder}")
    return inside


def _from_hub(spec: ModelSpec) -> Recipe:
    """Download config, tokenizer and one file of weights, then continue as with a folder."""
    try:
        folder = cached_or_fetched(spec.name, [CONFIG_FILE]).parent
        config = _read_json(folder / CONFIG_FILE, spec)
        if dict(_settings(config)).get("hf_tokenizer_name"):
            for file in TOKENIZER_FILES:
                with contextlib.suppress(HubError):  # no tokenizer has all of these files
                    cached_or_fetched(spec.name, [file])
        notes = () if spec.weights else _fetch_weights(spec.name)
    except HubError as error:
        other = f"; for a model of transformers write hf:{spec.name}" if CONFIG_FILE in str(error) else ""
        raise ModelError(f"model {spec.label}: {one_line(error)}{other}; {WAYS_OUT}") from error
    recipe = _from_folder(folder, spec)
    return replace(recipe, notes=(*notes, *recipe.notes))


def _fetch_weights(repository: str) -> tuple[str, ...]:
    """Download the weights that open_clip would use, or else any others; return a note in that case."""
    try:
        cached_or_fetched(repository, HUB_FILES)
    except HubError as error:
        file = cached_or_fetched(repository, WEIGHT_FILES)
        return (f"used {file.name} of {repository}: {one_line(error)}",)
    return ()


def _check_config(config: Mapping[str, Any], path: Path, spec: ModelSpec) -> None:
    """Check the parts of a model config that are used before open_clip checks the rest."""
    for name in ("vision_cfg", "text_cfg"):
        if not isinstance(config.get(name, {}), dict):
            raise ModelError(f"model {spec.label}: {path} has {name}={config[name]!r}; expected an object")
    _refuse_code(config, path, spec)


def _refuse_code(config: Mapping[str, Any], path: Path, spec: ModelSpec) -> None:
    """Refuse a config that makes transformers run Python code of the model's author."""
    for key, value in _settings(config):
        if key in {"trust_remote_code", "auto_map"} and value not in (None, False, 0):
            raise ModelError(
                f"model {spec.label}: {path} sets {key}, so the model would run its own Python code: remove the "
                "setting, or load the model in your own function with py:"
            )


def _check_tokenizer(folder: Path, spec: ModelSpec) -> None:
    """Check the files that transformers will read for the tokenizer."""
    for name in TOKENIZER_FILES:
        if exists(folder / name) and not (folder / name).is_file():
            raise ModelError(f"model {spec.label}: {folder / name} is not a regular file")
    if (folder / TOKENIZER_CONFIG).is_file():
        _refuse_code(_read_json(folder / TOKENIZER_CONFIG, spec), folder / TOKENIZER_CONFIG, spec)


def _settings(config: object) -> Iterable[tuple[str, Any]]:
    """Yield every key and value of nested JSON."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield key, value
            yield from _settings(value)
    elif isinstance(config, list):
        for value in config:
            yield from _settings(value)


def _config_quick_gelu(name: str) -> bool:
    return bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False))


def _read_json(path: Path, spec: ModelSpec) -> dict[str, Any]:
    if is_file(path) and path.stat().st_size > LARGEST_CONFIG:
        raise ModelError(f"model {spec.label}: {path} has {path.stat().st_size / 2**20:,.0f} MiB; expected a config")
    content: dict[str, Any] = read_json(path, dict, f"model {spec.label}", error=ModelError)
    return content
