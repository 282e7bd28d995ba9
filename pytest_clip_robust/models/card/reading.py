"""Read the claims about a loaded model from its spec, config, files and encoder, and make its card.

Nothing is fetched: the loader has put what it needs into the cache, and a README that is not there states nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_clip_robust import showroom
from pytest_clip_robust.models.card.derived import adapted, interpolated
from pytest_clip_robust.models.card.facts import Claim, ModelCard, card_of
from pytest_clip_robust.models.card.overrides import encoder_claims, folder_claims
from pytest_clip_robust.models.card.repository import readme_claims
from pytest_clip_robust.models.card.runs import run_claims
from pytest_clip_robust.models.card.tags import name_claims, openclip_claims, repository_claims, timm_claims
from pytest_clip_robust.models.card.towers import (
    multimodal_facts,
    openclip_facts,
    side,
    table,
    transformers_facts,
    whole,
)
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import INTERPOLATE, LMM, OPEN_CLIP, ModelSpec
from pytest_clip_robust.system.files import is_file, is_folder, json_object, user_path
from pytest_clip_robust.system.text import printable

OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTERS = {"LORA": "LoRA", "LOHA": "LoHa", "LOKR": "LoKr", "ADALORA": "AdaLoRA"}
"""How the authors write the kinds of adapters that peft writes in capitals."""
IMAGE_SIDE = 64


def card_for(loaded: LoadedModel) -> ModelCard:
    """Return the card of a loaded model; what its loader put into ``loaded.card`` stays.

    Raises:
        ModelError: the model's ``card.toml``, or its encoder's attribute `card`, is not valid.
    """
    spec = loaded.spec
    seen = [*encoder_claims(loaded.encoder, f"model {spec.label}"), measured_claim(loaded.encoder)]
    if spec.adapter or spec.kind == INTERPOLATE:
        return _laid_over(_laid_over(card_of_spec(spec), card_of(seen)), loaded.card)
    return _laid_over(card_of([*seen, *spec_claims(spec)]), loaded.card)


def card_of_spec(spec: ModelSpec) -> ModelCard:
    """Return what can be known of a model without loading it, also of one with an adapter or an interpolation.

    Raises:
        ModelError: a ``card.toml`` is not valid.
    """
    if spec.adapter:
        return _with_adapter(card_of_spec(replace(spec, adapter="")), spec.adapter)
    if spec.kind == INTERPOLATE:
        first, second = map(card_of_spec, spec.parts)
        alpha = float(spec.option("alpha") or 0)
        if alpha in {0, 1}:
            return second if alpha else first
        return interpolated(first, second, alpha=alpha)
    return card_of(spec_claims(spec))


def _laid_over(card: ModelCard, nearer: ModelCard) -> ModelCard:
    """Return `card` with the facts of `nearer` in place of its own."""
    remarks = tuple(dict.fromkeys((*nearer.remarks, *card.remarks)))
    return ModelCard(**(card.facts | nearer.facts), sources={**card.sources, **nearer.sources}, remarks=remarks)


def _with_adapter(base: ModelCard, name: str) -> ModelCard:
    """Return the card of `base` with the adapter in a folder, or in a repository that is cached."""
    folder: Path | None = user_path(name)
    if not is_folder(user_path(name)):
        folder = _cached(name, ADAPTER_CONFIG)
    settings = {} if folder is None else json_object(folder / ADAPTER_CONFIG)
    kind, rank = settings.get("peft_type"), whole(settings.get("r"))
    adapter = ADAPTERS.get(kind, printable(kind)) if isinstance(kind, str) else f"from {printable(name)}"
    stated = card_of([] if folder is None else readme_claims(folder))
    # Without the name of a base model, the data of an adapter's card are those of the adapter.
    trained_on = stated.fine_tuned_on if stated.fine_tuning else stated.data
    return adapted(base, adapter=f"{adapter} r={rank}" if rank else adapter, trained_on=trained_on)


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
    config = json_object(folder / OPEN_CLIP_CONFIG)
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
    return _of_config_folder(spec, transformers_facts)


def _of_multimodal(spec: ModelSpec) -> list[Claim]:
    if spec.name in showroom.lmm_names():
        spec = replace(spec, name=str(showroom.lmm_folder(spec.name)))
    return _of_config_folder(spec, multimodal_facts)


def _of_config_folder(spec: ModelSpec, facts_in: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[Claim]:
    """Return the claims of a folder of transformers, or of a repository that is cached; `facts_in` reads its config."""
    folder = user_path(spec.name)
    claims: list[Claim] = []
    if not is_folder(folder):
        claims = repository_claims(spec.name)
        cached = _cached(spec.name, TRANSFORMERS_CONFIG, spec.option("revision"))
        if cached is None:
            return claims
        folder = cached
    config = Claim(source="config", facts=facts_in(json_object(folder / TRANSFORMERS_CONFIG)))
    return [config, *claims, *folder_claims(folder, f"model {spec.label}"), *readme_claims(folder)]


def _of_timm(spec: ModelSpec) -> list[Claim]:
    """Return the claims of a classifier: of timm's tag, or of the config of a folder or repository."""
    folder = user_path(spec.name)
    if is_folder(folder):
        return _of_timm_folder(folder, spec)
    if "/" not in spec.name:
        return _of_timm_name(spec.name, own_weights=bool(spec.weights))
    published = spec.name.removeprefix("timm/") if spec.name.startswith("timm/") else ""
    claims = _of_timm_name(published, own_weights=bool(spec.weights)) if published else []
    cached = _cached(spec.name, TRANSFORMERS_CONFIG)
    return claims + (_of_timm_folder(cached, spec) if cached else [])


def _of_timm_folder(folder: Path, spec: ModelSpec) -> list[Claim]:
    architecture = json_object(folder / TRANSFORMERS_CONFIG).get("architecture")
    claims = timm_claims(architecture) if isinstance(architecture, str) else []
    # What the folder says of its training does not hold for the weights of another file.
    return claims if spec.weights else claims + folder_claims(folder, f"model {spec.label}") + readme_claims(folder)


def _of_timm_name(name: str, *, own_weights: bool) -> list[Claim]:
    import timm  # noqa: PLC0415 - heavy

    config = None
    with contextlib.suppress(RuntimeError, KeyError):  # an unknown tag of a known architecture
        config = timm.get_pretrained_cfg(name)
    architecture = name.partition(".")[0]
    if config is None:
        return timm_claims(architecture if own_weights else name)
    tagged = f"{architecture}.{config.tag}" if config.tag and not own_weights else architecture
    return timm_claims(tagged, resolution=side(config.input_size[1:]))


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
    LMM: _of_multimodal,
}
