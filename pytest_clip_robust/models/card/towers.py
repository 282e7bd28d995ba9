"""Family and size of an image tower, by the names of timm or the config of open_clip or transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WIDTHS = {
    192: "T",
    384: "S",
    512: "M",
    768: "B",
    896: "B+",
    1024: "L",
    1152: "SO400M",
    1280: "H",
    1408: "g",
    1536: "gopt",
    1664: "bigG",
    1792: "e",
}
"""Widths of the transformers that open_clip and transformers build, and what their size is called."""

RESNETS = {
    (3, 4, 6, 3): "50",
    (3, 4, 23, 3): "101",
    (4, 6, 10, 6): "50x4",
    (6, 8, 18, 8): "50x16",
    (3, 15, 36, 10): "50x64",
}
"""Blocks per stage of OpenAI's ResNets."""

WORDS = {
    "tiny": "T",
    "xsmall": "XS",
    "small": "S",
    "medium": "M",
    "betwixt": "betwixt",
    "base": "B",
    "large": "L",
    "huge": "H",
    "giant": "g",
    "giantopt": "gopt",
    "gigantic": "bigG",
    "enormous": "E",
    "so400m": "SO400M",
    "xlarge": "XL",
}
"""Sizes in timm's names of transformers."""

FAMILIES = {
    "naflexvit": "ViT",
    "vitamin": "ViTamin",
    "vit": "ViT",
    "deit3": "DeiT",
    "deit": "DeiT",
    "eva02": "EVA",
    "eva": "EVA",
    "beitv2": "BEiT",
    "beit": "BEiT",
    "convnextv2": "ConvNeXt V2",
    "convnext": "ConvNeXt",
    "swinv2": "Swin V2",
    "swin": "Swin",
    "fastvit": "FastViT",
    "tf_efficientnetv2": "EfficientNet V2",
    "efficientnetv2": "EfficientNet V2",
    "tf_efficientnet": "EfficientNet",
    "efficientnet": "EfficientNet",
    "mobilenetv3": "MobileNet V3",
    "mobilenetv2": "MobileNet V2",
    "resnext": "ResNeXt",
    "wide_resnet": "Wide ResNet",
    "resnetv2": "ResNet V2",
    "resnet": "ResNet",
    "regnet": "RegNet",
    "densenet": "DenseNet",
    "maxvit": "MaxViT",
    "coatnet": "CoAtNet",
}
"""Beginnings of timm's names; the first that fits counts."""
TRANSFORMERS = {"ViT", "DeiT", "EVA", "BEiT", "ViTamin"}
"""Families whose sizes are written as letters, with the patch size if they have one."""

FAMILY_OF_TYPE = {
    "clip": "ViT",
    "siglip": "ViT",
    "siglip2": "ViT",
    "metaclip_2": "ViT",
    "altclip": "ViT",
    "chinese_clip": "ViT",
    "vit": "ViT",
    "idefics3": "ViT",
    "internvl": "ViT",
    "smolvlm": "ViT",
    "deit": "DeiT",
    "dinov2": "ViT",
    "convnext": "ConvNeXt",
    "resnet": "ResNet",
    "swin": "Swin",
    "beit": "BEiT",
    "align": "EfficientNet",
}
"""The image tower's family, by transformers' type of model or of vision model."""
SIGMOID = {"siglip", "siglip2"}
CONTRASTIVE = {"clip", "align", "metaclip_2", "altclip", "chinese_clip", "vision-text-dual-encoder", *SIGMOID}


def timm_tower(name: str) -> dict[str, Any]:
    """Return the facts in a name of timm, without a tag.

    >>> timm_tower("vit_base_patch32_clip_224")
    {'family': 'ViT', 'size': 'B/32', 'patch': 32}
    >>> timm_tower("convnext_large_mlp"), timm_tower("tf_efficientnet_lite0"), timm_tower("resnet50x4_clip")
    ({'family': 'ConvNeXt', 'size': 'large'}, {'family': 'EfficientNet', 'size': 'lite0'}, {'family': 'ResNet', \
'size': '50x4'})
    """
    name = name.casefold()
    start = next((start for start in FAMILIES if name.startswith(start)), "")
    if not start:
        return {"family": re.split(r"[_\d]", name)[0]} if name else {}
    family = FAMILIES[start]
    rest = name.removeprefix(start).strip("_")
    if family not in TRANSFORMERS:
        size = re.split(r"_|$", rest)[0]
        return {"family": family, **({"size": size} if size else {})}
    words = rest.split("_")
    word = next((word for word in words if word.removesuffix("2") in WORDS), "")
    letter = WORDS.get(word.removesuffix("2"), "") + ("2" if word.endswith("2") else "")
    plus = "+" if "plus" in words and family == "ViT" else ""
    facts: dict[str, Any] = {"family": family}
    patch = re.search(r"patch(\d+)", rest)
    if letter:
        facts["size"] = f"{letter}{plus}{f'/{patch[1]}' if patch else ''}"
    return facts | ({"patch": int(patch[1])} if patch else {})


def openclip_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a model config of open_clip.

    >>> openclip_facts({"embed_dim": 512, "vision_cfg": {"layers": 12, "width": 768, "patch_size": 32,
    ...     "image_size": 224}, "text_cfg": {"context_length": 77}})["size"]
    'B/32'
    """
    vision, text = table(config, "vision_cfg"), table(config, "text_cfg")
    captions = " and captioning" if "multimodal_cfg" in config else ""
    # A bias is what the sigmoid loss adds to a model.
    loss = f"{'softmax' if config.get('init_logit_bias') is None else 'sigmoid'}{captions}"
    return {
        **_openclip_tower(vision),
        "text_tower": text.get("hf_model_name") or "transformer",
        "context": whole(text.get("context_length", 77)),
        "embedding": whole(config.get("embed_dim")),
        "resolution": side(vision.get("image_size", 224)),
        "loss": loss,
    }


def _openclip_tower(vision: Mapping[str, Any]) -> dict[str, Any]:
    name, layers, width = vision.get("timm_model_name"), vision.get("layers", 12), whole(vision.get("width", 768))
    if isinstance(name, str):
        return timm_tower(name)
    if isinstance(layers, list | tuple):
        return {"family": "ResNet", "size": RESNETS.get(tuple(layers))}
    return {**vit(width, whole(vision.get("patch_size", 16))), "layers": whole(layers), "width": width}


def transformers_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a ``config.json`` of transformers.

    >>> facts = transformers_facts({"model_type": "siglip", "vision_config": {"hidden_size": 768, "patch_size": 16,
    ...     "image_size": 224, "num_hidden_layers": 12}})
    >>> facts["family"], facts["size"], facts["loss"]
    ('ViT', 'B/16', 'sigmoid')
    """
    kind, vision, text = config.get("model_type"), table(config, "vision_config"), table(config, "text_config")
    own = re.sub(r"(_vision)?(_model)?$", "", str(vision.get("model_type", "")))
    family = FAMILY_OF_TYPE.get(own) or FAMILY_OF_TYPE.get(str(kind))
    layers, width, patch = (whole(vision.get(name)) for name in ("num_hidden_layers", "hidden_size", "patch_size"))
    facts: dict[str, Any] = {"family": family}
    if family == "ViT":
        facts = {**vit(width, patch), "layers": layers, "width": width}
    return {
        **facts,
        "context": whole(text.get("max_position_embeddings")),
        "embedding": whole(config.get("projection_dim")),
        "resolution": side(vision.get("image_size")),
        "loss": ("sigmoid" if kind in SIGMOID else "softmax") if kind in CONTRASTIVE else None,
    }


def multimodal_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a ``config.json`` of a large multimodal model: its image tower, and its language model.

    >>> facts = multimodal_facts({"model_type": "fast_vlm", "text_config": {"model_type": "qwen2"},
    ...     "vision_config": {"model_type": "timm_wrapper", "architecture": "tf_efficientnet_lite0"}})
    >>> facts["family"], facts["size"], facts["text_tower"], facts["loss"]
    ('EfficientNet', 'lite0', 'qwen2', 'next token')
    """
    vision, text = table(config, "vision_config"), table(config, "text_config")
    facts = transformers_facts(config)
    if isinstance(name := vision.get("architecture"), str):
        facts |= timm_tower(name)
    language = text.get("_name_or_path") or text.get("model_type")
    return facts | {"text_tower": language if isinstance(language, str) else None, "loss": "next token"}


def vit(width: int | None, patch: int | None) -> dict[str, Any]:
    """Return family, size and patch of a vision transformer."""
    letter = WIDTHS.get(width or 0)
    return {"family": "ViT", "size": f"{letter}/{patch}" if letter and patch else letter, "patch": patch}


def table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a nested table, or an empty one: configs come from anywhere."""
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def whole(value: object) -> int | None:
    """Return a whole number of at least 1, or None."""
    return value if type(value) is int and value > 0 else None


def side(value: object) -> int | None:
    """Return the side of a square image in pixels; None if it is not square or not known."""
    sides = set(value) if isinstance(value, list | tuple) else {value}
    return whole(sides.pop()) if len(sides) == 1 else None
