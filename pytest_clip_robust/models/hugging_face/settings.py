"""The settings of a model of transformers that are part of its identity, independent of the installed release.

The config of a loaded model states every setting that the installed release knows. If all of them were part of a
model's identity, each release that adds one would make every stored feature and baseline useless. So a setting counts
if it differs from its default, or if features are known to depend on it (`SHAPING`).
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from pytest_clip_robust.models.hugging_face.images import VOLATILE

NOT_ARCHITECTURE = VOLATILE | {"transformers_version", "dtype", "torch_dtype", "architectures", "return_dict"}
"""Entries of a config that say where and how it was stored."""
SHAPING = frozenset(
    {"model_type", "architecture", "model_args", "do_pooling", "pooling_type", "vision_use_head", "is_causal"}
    | {"hidden_act", "hidden_activation", "projection_hidden_act", "layer_norm_eps", "rms_norm_eps", "batch_norm_eps"}
    | {"num_attention_heads", "head_dim", "num_channels", "image_size", "patch_size", "num_patches", "strides"}
    | {"kernel_sizes", "depthwise_padding", "depth_divisor", "position_embedding_type", "rope_theta"}
    | {"bos_token_id", "eos_token_id", "pad_token_id", "window_size", "rope_scaling", "rope_parameters"}
    | {"vision_feature_layer", "vision_feature_select_strategy", "image_token_id", "image_token_index"}
)
"""Entries that shape features while the parameters stay the same, whether a file states them or leaves them open.

Their values count as the installed release uses them: if a release changes a default, models that leave the entry open
become other models, as they should. A changed default of an entry that is not listed here stays unnoticed.
"""


def counting(config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings of a config that shape features, as JSON.

    An entry that the class of the config does not know, such as one of a newer release, does not count, and neither
    does one that is stated with its default value. If a class has no defaults, all of its entries count.

    >>> from transformers import CLIPVisionConfig
    >>> plain = counting(CLIPVisionConfig())
    >>> counting(CLIPVisionConfig(attention_dropout=0.0, of_a_newer_release=1)) == plain
    True
    >>> counting(CLIPVisionConfig(hidden_act="gelu")) == plain
    False
    """
    default = _default(type(config))
    found = {}
    for key, value in lasting(config.to_dict()).items():
        own = getattr(config, key, None)
        if isinstance(own, PretrainedConfig):
            found[key] = counting(own)
        elif key in SHAPING or default is None or (key in default and value != default[key]):
            found[key] = value
    return found


def lasting(settings: Any) -> Any:
    """Return nested settings without the entries that depend on where and how they were stored."""
    if isinstance(settings, dict):
        return {str(key): lasting(value) for key, value in settings.items() if key not in NOT_ARCHITECTURE}
    return [lasting(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _default(kind: type[PretrainedConfig]) -> dict[str, Any] | None:
    """Return the settings of a config that states nothing, or None if the class requires some."""
    try:
        default: dict[str, Any] = lasting(kind().to_dict())
    except Exception:  # noqa: BLE001 - each class raises errors of its own
        return None
    return default
