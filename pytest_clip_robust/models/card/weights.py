"""Parameter counts of a built model, by the names of its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_clip_robust.models.card.facts import Claim

IMAGE_TOWER = ("visual.", "vision_", "visual_", "image_")
NO_TOWER = ("logit_scale", "logit_bias", "temperature", "text_decoder.", "multimodal_")
"""Parameters of neither tower, such as those that write captions."""


def weights_claim(sizes: Mapping[str, int]) -> Claim:
    """Return the claim of a model's parameters; `sizes` maps the name of each to its number of elements.

    The names are those of open_clip and transformers. Adapters that wrap a model put prefixes before them; then the
    towers are not told apart.

    >>> dict(weights_claim({"visual.proj": 6, "token_embedding.weight": 4, "logit_scale": 1}).facts)
    {'parameters': 11, 'image_parameters': 6, 'text_parameters': 4}
    """
    image = sum(size for name, size in sizes.items() if name.startswith(IMAGE_TOWER))
    other = sum(size for name, size in sizes.items() if name.startswith(NO_TOWER))
    whole = sum(sizes.values())
    if not image:
        return Claim(source="weights", facts={"parameters": whole or None})
    facts = {"parameters": whole, "image_parameters": image, "text_parameters": whole - image - other or None}
    return Claim(source="weights", facts=facts)
