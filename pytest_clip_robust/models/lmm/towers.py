"""The CLIP tower that a large multimodal model is built on, as a model spec, from its spec or its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.spec import ModelSpec

NAMED = "mm_vision_tower"
"""The entry of LLaVA's own configs that names the tower."""
LLAVA_15 = {(1024, 14, 336): "ViT-L-14-336@openai", (1024, 14, 224): "ViT-L-14@openai"}
"""The locked towers of LLaVA 1.5 and LLaVA (Liu et al. 2023), whose converted configs state sizes only: width, patch
and resolution."""


def tower_of(spec: ModelSpec, config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the spec of the tower, or ``""`` if it is not known, and where it is stated.

    Raises:
        ModelError: the config names something that is not the spec of a model.
    """
    if stated := spec.option("tower"):
        return stated, "the spec"
    vision = config.get("vision_config")
    vision = vision if isinstance(vision, Mapping) else {}
    for name in (config.get(NAMED), vision.get("_name_or_path")):
        if isinstance(name, str) and name.strip():
            return _checked(name, spec), "its config"
    sizes = tuple(vision.get(key) for key in ("hidden_size", "patch_size", "image_size"))
    if config.get("model_type") == "llava" and vision.get("model_type") == "clip_vision_model" and sizes in LLAVA_15:
        return LLAVA_15[sizes], "its size, which is that of LLaVA's"
    return "", ""


def _checked(name: str, spec: ModelSpec) -> str:
    text = name if name in showroom.model_names() else f"hf:{name}"
    try:
        return str(ModelSpec.parse(text))
    except ModelError as error:
        raise ModelError(f"model {spec.label}: the tower that its config names: {error}; give ?tower=SPEC") from None
