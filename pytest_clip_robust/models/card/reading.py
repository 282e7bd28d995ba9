"""Read the claims about a loaded model from its spec, config, files and encoder, and make its card.

Nothing is fetched: the loader has put what it needs into the cache, and a README that is not there states nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.card.facts import Claim, ModelCard, card_of
from pytest_clip_robust.models.card.overrides import encoder_claims, folder_claims
from pytest_clip_robust.models.card.repository import readme_claims
from pytest_clip_robust.models.card.runs import run_claims
from pytest_clip_robust.models.card.tags import name_claims, openclip_claims, repository_claims, timm_claims
from pytest_clip_robust.models.card.towers import openclip_facts, table, transformers_facts
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import OPEN_CLIP, ModelSpec
from pytest_clip_robust.system.files import is_file, is_folder, read_json, user_path

OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
IMAGE_SIDE = 64


def card_for(loaded: LoadedModel) -> ModelCard:
    """Return the card of a loaded model; what its loader put into ``loaded.card`` stays.

    Raises:
        ModelError: the model's ``card.toml``, or its encoder's attribute `card`, is not valid.
    """
    where = f"model {loaded.spec.label}"
    own = loaded.card
    claims = [*encoder_claims(loaded.encoder, where), *spec_claims(loaded.spec), measured_claim(loaded.encoder)]
    rest = card_of([claim for claim in claims if claim.facts or claim.remarks])
    facts, sources = rest.facts | own.facts, {**rest.sources, **own.sources}
    return ModelCard(**facts, sources=sources, remarks=tuple(dict.fromkeys((*own.remarks, *rest.remarks))))


def spec_claims(spec: ModelSpec) -> list[Claim]:
    """Return what the spec of a model, and the config and files that it names, state. The model must exist.

    Raises:
        ModelError: a ``card.toml`` is not valid.
    """
    reader = _READERS.get(spec.kind)
    return [] if reader is None else reader(spec)


def measured_claim(encoder: object) -> Claim:
    """Return the resolution of an encoder: the side of its preprocessed images, if they are square."""
    preprocess = getattr(encoder, "preprocess", None)
    if preprocess is None:
        return Claim(source="weights")
    from PIL import Image  # noqa: PLC0415 - heavy

    try:
        shape = tuple(preprocess(Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), (128, 96, 64))).shape)
    except Exception:  # noqa: BLE001 - the checks of a model report what is wrong with its preprocessing
        return Claim(source="weights")
    square = len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2]
    return Claim(source="weights", facts={"resolution": int(shape[1])} if square else {})


def _of_openclip(spec: ModelSpec) -> list[Claim]:
    if spec.name in showroom.model_names() and not spec.weights:
        return _of_folder(showroom.model_folder(spec.name), spec)
    import open_clip  # noqa: PLC0415 - heavy

    from pytest_clip_robust.models.open_clip.recipe import default_tag  # noqa: PLC0415 - imports torch

    name = Path(spec.name).stem if spec.name.endswith(".json") else spec.name.replace("/", "-")
    config = Claim(source="config", facts=_of_config(open_clip.get_model_config(name) or {}, spec))
    if spec.has_checkpoint:
        return [config, *_of_checkpoint(user_path(spec.weights))]
    tags = open_clip.list_pretrained_tags_by_model(name)
    return [config, *(openclip_claims(name, spec.weights or default_tag(tags)) if tags else [])]


def _of_config(config: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    facts = openclip_facts(config) if config else {}
    if spec.option("image_size"):
        facts.pop("resolution", None)  # the option replaces it, which is no contradiction
    return facts


def _of_checkpoint(path: Path) -> list[Claim]:
    from pytest_clip_robust.models.open_clip.training import run_options  # noqa: PLC0415 - not needed otherwise

    options = run_options(path)
    return run_claims(options, path.name) if options.get("model") else name_claims(path.name)


def _of_local(spec: ModelSpec) -> list[Claim]:
    return _of_folder(user_path(spec.name), spec)


def _of_folder(folder: Path, spec: ModelSpec) -> list[Claim]:
    """Return the claims of a folder of open_clip. Those on training do not hold for the weights of another file."""
    config = _json(folder / OPEN_CLIP_CONFIG)
    claims = [Claim(source="config", facts=_of_config(table(config, "model_cfg"), spec))]
    if spec.weights:
        checkpoint = folder / spec.weights if is_file(folder / spec.weights) else user_path(spec.weights)
        return claims + _of_checkpoint(checkpoint)
    return claims + folder_claims(folder, f"model {spec.label}") + readme_claims(folder)


def _of_hub(spec: ModelSpec) -> list[Claim]:
    claims = repository_claims(spec.name)
    snapshot = _cached(spec.name, OPEN_CLIP_CONFIG)
    if snapshot is None:
        return claims
    return claims + _of_folder(snapshot, spec) if not spec.weights else _of_folder(snapshot, spec)


def _of_transformers(spec: ModelSpec) -> list[Claim]:
    folder = user_path(spec.name)
    claims: list[Claim] = []
    if not is_folder(folder):
        claims = repository_claims(spec.name)
        cached = _cached(spec.name, TRANSFORMERS_CONFIG, spec.option("revision"))
        if cached is None:
            return claims
        folder = cached
    config = Claim(source="config", facts=transformers_facts(_json(folder / TRANSFORMERS_CONFIG)))
    return [config, *claims, *folder_claims(folder, f"model {spec.label}"), *readme_claims(folder)]


def _of_timm(spec: ModelSpec) -> list[Claim]:
    import timm  # noqa: PLC0415 - heavy

    with contextlib.suppress(RuntimeError, KeyError):  # an unknown tag of a known architecture
        config = timm.get_pretrained_cfg(spec.name)
        size = None if config is None else config.input_size
        name = spec.name if config is None or not config.tag else f"{spec.name.partition('.')[0]}.{config.tag}"
        square = size is not None and len(size) == 3 and size[1] == size[2]
        known = timm_claims(name, resolution=size[1] if square and size else None)
        return known[:1] if spec.weights else known  # a checkpoint of one's own has another training
    return timm_claims(spec.name)


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a config that the loader has accepted; {} if it is elsewhere."""
    try:
        content: dict[str, Any] = read_json(path, dict, "config", error=ModelError)
    except ModelError:
        return {}
    return content


def _cached(repository: str, file: str, revision: str | None = None) -> Path | None:
    """Return the folder of a repository's snapshot in the local cache, or None."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy

    found = try_to_load_from_cache(repository, file, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


_READERS: dict[str, Callable[[ModelSpec], list[Claim]]] = {
    OPEN_CLIP: _of_openclip,
    "local-dir": _of_local,
    "hf-hub": _of_hub,
    "hf": _of_transformers,
    "timm": _of_timm,
}
