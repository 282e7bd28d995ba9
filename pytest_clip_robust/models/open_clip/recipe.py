"""Recipes: what open_clip needs to build the model of a spec as it was trained.

Three things can be wrong without an error: the activation function (QuickGELU or GELU), the preprocessing, and random
weights in place of missing ones. Each is determined here, or refused in one line that says how to state it.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import read_json
from pytest_clip_robust.system.hub import HubError, cached_or_fetched
from pytest_clip_robust.system.text import one_line

PREFERRED_TAGS = ("openai", "laion2b", "datacomp", "webli", "metaclip", "dfn")
"""The default tag of an architecture is the first that starts with one of these, in this order, else its first."""

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.pth",
    "model.pth",
)
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "special_tokens_map.json", "spiece.model")
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
QUICKGELU_SUFFIX = "-quickgelu"
"""How open_clip ends the name of an architecture that exists with GELU, too."""
WAYS_OUT = (
    "give a checkpoint (ARCH@FILE) or a folder (local-dir:DIR), or fill the cache on a machine that can reach the hub"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to build one model.

    name: open_clip's name of the architecture (``ViT-B-32`` or ``local-dir:...``).
    checkpoint: a local file with all parameters.
    overrides: keyword arguments of the model, such as ``quick_gelu``.
    preprocess: settings that differ from OpenAI's transform.
    notes: one-line remarks on what the spec left open.
    """

    name: str
    checkpoint: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recipe_for(spec: ModelSpec) -> Recipe:
    """Determine what `spec` leaves open, and fetch the weights if they are on the hub.

    Raises:
        ModelError: the architecture, tag, folder or checkpoint does not exist, the hub cannot be reached, or the
            activation function of a checkpoint is not known.
    """
    if spec.kind == "local-dir":
        return _from_folder(Path(spec.name).expanduser(), spec)
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
            raise ModelError(f"model {spec.label}: open_clip has no architecture {spec.name!r}{near}")
        return name
    path = Path(spec.name).expanduser()
    config = _read_json(path, spec)
    lacking = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if lacking:
        raise ModelError(f"model {spec.label}: {path} lacks {', '.join(lacking)}; expected an open_clip model config")
    known_config = open_clip.get_model_config(path.stem)
    if known_config is None:
        open_clip.add_model_config(path)
    elif known_config != config:
        raise ModelError(f"model {spec.label}: open_clip has a different architecture {path.stem!r}; rename the file")
    return path.stem


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
        name=name, checkpoint=checkpoint, overrides=overrides, preprocess=_preprocess(settings), notes=tuple(notes)
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
    checkpoint = Path(spec.weights).expanduser()
    training = _training_parameters(checkpoint)
    trained_as = training.get("model", name)
    if trained_as.removesuffix(QUICKGELU_SUFFIX) != name.removesuffix(QUICKGELU_SUFFIX) and not spec.name.endswith(
        ".json"
    ):
        raise ModelError(
            f"model {spec.label}: its params.txt says that it was trained as {trained_as}; write {trained_as}@..."
        )
    quick_gelu = _checkpoint_quick_gelu(spec, name, training)
    overrides: dict[str, Any] = {} if quick_gelu == _config_quick_gelu(name) else {"quick_gelu": quick_gelu}
    preprocess, notes = _checkpoint_preprocess(name, training)
    return Recipe(name=name, checkpoint=checkpoint, overrides=overrides, preprocess=preprocess, notes=notes)


def _checkpoint_quick_gelu(spec: ModelSpec, name: str, training: Mapping[str, str]) -> bool:
    """Return whether a checkpoint was trained with QuickGELU, by the spec, its run's parameters, or its name.

    A run of plain ``ViT-B-32`` that started from ``openai`` had QuickGELU under open_clip 2 and GELU under 3, and its
    parameters do not contain the version.
    """
    stated = spec.option("quick_gelu")
    if stated is not None:
        return stated == "true"
    if training.get("force_quick_gelu") == "True":
        return True
    own = _config_quick_gelu(name)
    if name.endswith(QUICKGELU_SUFFIX) or spec.name.endswith(".json") or not _has_both_activations(name):
        return own
    if "model" in training:
        trained_as = training["model"]
        start = open_clip.get_pretrained_cfg(trained_as, training.get("pretrained", ""))
        if not start or bool(start.get("quick_gelu", False)) == _config_quick_gelu(trained_as):
            return _config_quick_gelu(trained_as)
    raise ModelError(
        f"model {spec.label}: {name} exists with QuickGELU and with GELU, and nothing states which one the checkpoint "
        f"was trained with; write {spec}?quick_gelu=true (OpenAI's weights and their fine-tunes) or ...=false"
    )


def _has_both_activations(name: str) -> bool:
    if f"{name}{QUICKGELU_SUFFIX}" in open_clip.list_models():
        return True
    own = _config_quick_gelu(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    return any(bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)) != own for tag in tags)


def _checkpoint_preprocess(name: str, training: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the preprocessing that a checkpoint was trained with: its run's, else that of the architecture's tags."""
    chosen = {
        key: value
        for key, option in (
            ("mean", "image_mean"),
            ("std", "image_std"),
            ("interpolation", "image_interpolation"),
            ("resize_mode", "image_resize_mode"),
        )
        if (value := _literal(training.get(option, "None"))) is not None
    }
    start = open_clip.get_pretrained_cfg(training.get("model", name), training.get("pretrained", ""))
    if start or training:
        return _preprocess(start) | chosen, ()
    of_tags = [
        _preprocess(open_clip.get_pretrained_cfg(name, tag)) for tag in open_clip.list_pretrained_tags_by_model(name)
    ]
    if not of_tags or all(one == of_tags[0] for one in of_tags):
        return (of_tags[0] if of_tags else {}), ()
    note = f"the published weights of {name} differ in preprocessing: used OpenAI's for the checkpoint"
    return {}, (note,)


def _training_parameters(checkpoint: Path) -> dict[str, str]:
    """Read the options of open_clip's training: ``RUN/params.txt`` for ``RUN/checkpoints/*.pt``."""
    path = checkpoint.parent.parent / "params.txt"
    if checkpoint.parent.name != "checkpoints" or not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key: value for key, colon, value in (line.partition(": ") for line in lines) if colon}


def _from_folder(folder: Path, spec: ModelSpec) -> Recipe:
    if not folder.is_dir():
        raise ModelError(f"model {spec.label}: no folder {folder}")
    config = _read_json(folder / CONFIG_FILE, spec)
    if not isinstance(config.get("model_cfg"), dict):
        raise ModelError(f"model {spec.label}: {folder / CONFIG_FILE} has no 'model_cfg'")
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return Recipe(name=f"local-dir:{folder}", checkpoint=folder / name)
    others = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin", ".pt", ".pth"})
    if len(others) == 1:
        return Recipe(name=f"local-dir:{folder}", checkpoint=others[0])
    found = ", ".join(path.name for path in others) or "no weights"
    raise ModelError(f"model {spec.label}: {folder} has {found}; expected one file, such as {WEIGHT_FILES[0]}")


def _from_hub(spec: ModelSpec) -> Recipe:
    """Download config, tokenizer and one file of weights, then continue as with a folder."""
    try:
        folder = cached_or_fetched(spec.name, [CONFIG_FILE]).parent
        config = _read_json(folder / CONFIG_FILE, spec)
        if config.get("model_cfg", {}).get("text_cfg", {}).get("hf_tokenizer_name"):
            for file in TOKENIZER_FILES:
                with contextlib.suppress(HubError):  # no tokenizer has all of these files
                    cached_or_fetched(spec.name, [file])
        cached_or_fetched(spec.name, WEIGHT_FILES)
    except HubError as error:
        raise ModelError(f"model {spec.label}: {one_line(error)}; {WAYS_OUT}") from error
    return _from_folder(folder, spec)


def _config_quick_gelu(name: str) -> bool:
    return bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False))


def _preprocess(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in PREPROCESS_KEYS if key in settings}


def _read_json(path: Path, spec: ModelSpec) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, dict, f"model {spec.label}", error=ModelError)
    return content


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
