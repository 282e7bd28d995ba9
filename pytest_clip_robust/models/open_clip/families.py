"""Preprocessing of architectures that do not state it, by the published architectures that they resemble."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg

PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")

WITHIN_FAMILY = frozenset(
    {"embed_dim", "image_size", "layers", "width", "heads", "head_width", "patch_size", "mlp_ratio", "context_length"}
    | {"vocab_size", "patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained", "hf_model_pretrained"}
    | {"quick_gelu", "eps"}
)
"""Settings in which architectures of one family differ."""

RESEMBLES = 0.5
"""Smallest share of common settings, apart from sizes, for an architecture to count as one of a family."""

MAJORITY = 0.75
"""Smallest share of a family that must agree on the preprocessing."""


def preprocess_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preprocessing in a tag's settings."""
    return {key: settings[key] for key in PREPROCESS_KEYS if key in settings}


def published_preprocess(name: str) -> list[dict[str, Any]]:
    """Return the different preprocessings of an architecture's tags."""
    found: list[dict[str, Any]] = []
    for tag in open_clip.list_pretrained_tags_by_model(name):
        preprocess = preprocess_of(open_clip.get_pretrained_cfg(name, tag))
        if preprocess not in found:
            found.append(preprocess)
    return found


def family_preprocess(config: Mapping[str, Any], name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the preprocessing for a model config that does not state it, and a note if it was inferred.

    A config that equals a published one has its preprocessing. Otherwise it has that of the published ones with the
    most common settings, if most of them agree. OpenAI's transform, the default of open_clip, is used for all others.
    """
    same = [published_preprocess(one) for one in _published() if open_clip.get_model_config(one) == config]
    if same and all(len(one) == 1 and one == same[0] for one in same):
        return same[0][0], ()
    nearest = _nearest(config)
    if not nearest:
        return {}, (f"{name} does not state its preprocessing, and resembles no published model: used OpenAI's",)
    agreed = _agreed([published_preprocess(one) for one in nearest])
    if agreed is None:
        return {}, (
            f"{name} does not state its preprocessing, and {nearest[0]} and others differ in it: used OpenAI's",
        )
    if _is_default(agreed):
        return {}, ()
    mean, mode = agreed["mean"], agreed["resize_mode"]
    origin = f"that of {nearest[0]} (mean {mean}, resize mode {mode}), which it resembles"
    return agreed, (f"{name} does not state its preprocessing: used {origin}",)


def known_preprocess(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the different preprocessings of the published architectures that a model config resembles, if any.

    Those that equal the config count, or else those with the most common settings, apart from sizes.
    """
    same = [one for one in _published() if open_clip.get_model_config(one) == config]
    found: list[dict[str, Any]] = []
    for name in same or _nearest(config):
        found += [one for one in published_preprocess(name) if one not in found]
    return found


def _agreed(found: list[list[dict[str, Any]]]) -> dict[str, Any] | None:
    """Return the preprocessing that most architectures have; None if no preprocessing is common enough."""
    single = [one[0] for one in found if len(one) == 1]
    counts = [single.count(preprocess) for preprocess in single]
    most = max(counts, default=0)
    return single[counts.index(most)] if most and most / len(found) >= MAJORITY else None


def _is_default(preprocess: Mapping[str, Any]) -> bool:
    default = PreprocessCfg()
    return all(value == getattr(default, key) for key, value in preprocess.items())


def _nearest(config: Mapping[str, Any]) -> list[str]:
    """Return the published architectures that share the most settings with `config`."""
    own = frozenset(_style(config))
    shares = {
        name: len(own & style) / len(own | style) if own | style else 1.0
        for name in _published()
        for style in [_published_style(name)]
    }
    best = max(shares.values(), default=0.0)
    return [name for name, share in shares.items() if share == best >= RESEMBLES]


@cache
def _published() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, _ in open_clip.list_pretrained()))


@cache
def _published_style(name: str) -> frozenset[str]:
    return frozenset(_style(open_clip.get_model_config(name) or {}))


def _style(config: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield the settings of a model config, apart from sizes; for names of models and tokenizers also their words."""
    for key, value in config.items():
        if key in WITHIN_FAMILY:
            continue
        if isinstance(value, Mapping):
            yield from _style(value, f"{where}{key}.")
        elif key.startswith("init_logit"):
            yield key
        elif key.endswith("_name"):
            yield f"{where}{key}: {value}"
            yield from (f"{where}{key}: {word}" for word in re.findall(r"[a-z]{3,}", str(value).casefold()))
        else:
            yield f"{where}{key}: {value}"
