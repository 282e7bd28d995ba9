"""Write a model of the showroom as a folder of transformers, to compare both libraries on the same weights.

    cd tools && python -m showroom.to_transformers FOLDER [--model showroom-clip]

The result is a VisionTextDualEncoder with transformers' own EfficientNet and text tower of CLIP: no code of open_clip
or timm takes part. It computes the same function. Where transformers' tower has squeeze-and-excitation, its gates are
exactly 1; as the projection has no bias, the bias becomes the weight of one more channel that is 1 for every image.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers as hf
from safetensors.torch import load_file

from pytest_clip_robust import showroom
from showroom.tower import FEATURES, NAME

CHANNELS = FEATURES + 8
"""Channels of the converted tower: transformers rounds their number to a multiple of 8."""
OPEN_GATE = 40.0
"""A number whose sigmoid is 1 in float32 and in every smaller format."""
FIRST = {
    "conv_dw": "depthwise_conv.depthwise_conv",
    "bn1": "depthwise_conv.depthwise_norm",
    "conv_pw": "projection.project_conv",
    "bn2": "projection.project_bn",
}
"""Names of the first block's layers in timm and in transformers: it does not expand its channels."""
EXPANDING = {
    "conv_pw": "expansion.expand_conv",
    "bn1": "expansion.expand_bn",
    "conv_dw": "depthwise_conv.depthwise_conv",
    "bn2": "depthwise_conv.depthwise_norm",
    "conv_pwl": "projection.project_conv",
    "bn3": "projection.project_bn",
}
"""The same for every other block."""
ENDS = {
    "conv_stem": "embeddings.convolution",
    "bn1": "embeddings.batchnorm",
    "conv_head": "encoder.top_conv",
    "bn2": "encoder.top_bn",
}
TEXT = {
    "token_embedding": "embeddings.token_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final": "final_layer_norm",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn": "self_attn",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""Names in the text tower of open_clip and of transformers."""


def main() -> None:
    """Convert the model that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the files")
    parser.add_argument(
        "--model", default="showroom-clip", choices=showroom.model_names(), help="(default: %(default)s)"
    )
    options = parser.parse_args()
    convert(showroom.model_folder(options.model), options.folder)


def convert(source: Path, folder: Path) -> None:
    """Write the open_clip folder `source` of a showroom model to `folder` in the format of transformers, in fp32.

    Raises:
        ValueError: the model has another architecture than the showroom's.
    """
    config = json.loads((source / "open_clip_config.json").read_text())
    settings = config["model_cfg"]
    if (name := settings["vision_cfg"].get("timm_model_name")) != NAME:
        raise ValueError(f"{source}: timm_model_name={name!r}; expected {NAME!r}")
    theirs = {key: value.float() for key, value in load_file(source / "open_clip_model.safetensors").items()}
    model = hf.VisionTextDualEncoderModel(_config(settings)).eval()
    model.load_state_dict(_parameters(theirs, model))
    model.save_pretrained(folder)
    _processor(settings["vision_cfg"]["image_size"], config["preprocess_cfg"]).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / file, folder / file)


def _config(settings: dict) -> hf.VisionTextDualEncoderConfig:
    text = settings["text_cfg"]
    image = hf.EfficientNetConfig(
        image_size=settings["vision_cfg"]["image_size"],
        width_coefficient=CHANNELS / FEATURES,  # all other layers round to the same number of channels as with 1
        depth_coefficient=1.0,
        hidden_dim=CHANNELS,
        hidden_size=CHANNELS,
        hidden_act="relu6",
        squeeze_expansion_ratio=0.0,  # rounded up to one channel
        batch_norm_eps=1e-3,
    )
    words = hf.CLIPTextConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["width"],
        intermediate_size=4 * text["width"],
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        max_position_embeddings=text["context_length"],
        hidden_act="gelu",
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=text["vocab_size"] - 1,
    )
    return hf.VisionTextDualEncoderConfig.from_vision_text_configs(image, words, projection_dim=settings["embed_dim"])


def _processor(size: int, preprocess: dict) -> hf.CLIPImageProcessor:
    return hf.CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=preprocess["mean"],
        image_std=preprocess["std"],
    )


Parameters = Iterator[tuple[str, torch.Tensor]]


def _parameters(theirs: dict[str, torch.Tensor], model: hf.VisionTextDualEncoderModel) -> dict[str, torch.Tensor]:
    """Return all parameters and buffers of `model`, from those of open_clip."""
    image = {
        key.removeprefix("visual.trunk."): value for key, value in theirs.items() if key.startswith("visual.trunk.")
    }
    text = {key.removeprefix("text."): value for key, value in theirs.items() if key.startswith("text.")}
    projection = text.pop("text_projection").T
    below = "text_model." * (1 + hasattr(model.text_model, "text_model"))  # transformers 4 nests the tower once more
    channel = theirs["visual.head.proj.bias"][:, None]
    unused = torch.zeros(len(channel), CHANNELS - FEATURES - 1)
    return {
        "logit_scale": theirs["logit_scale"],
        "visual_projection.weight": torch.cat([theirs["visual.head.proj.weight"], channel, unused], dim=1),
        "text_projection.weight": projection,
        **{f"vision_model.{key}": value for key, value in _image_tower(image)},
        **{f"vision_model.{key}": value for key, value in _open_gates(model.vision_model)},
        **{below + key: value for key, value in _text_tower(text)},
    }


def _image_tower(theirs: dict[str, torch.Tensor]) -> Parameters:
    depths = sorted({(int(key.split(".")[1]), int(key.split(".")[2])) for key in theirs if key.startswith("blocks.")})
    for key, value in theirs.items():
        path, kind = key.rsplit(".", 1)
        if not path.startswith("blocks."):
            yield f"{ENDS[path]}.{kind}", _with_constant_channel(path, kind, value)
            continue
        _, stage, block, layer = path.split(".")
        number = depths.index((int(stage), int(block)))
        yield f"encoder.blocks.{number}.{(EXPANDING if number else FIRST)[layer]}.{kind}", value


def _with_constant_channel(path: str, kind: str, value: torch.Tensor) -> torch.Tensor:
    """Append channels to the last layer: one that is 1 after normalisation, and others that are 0."""
    if path not in {"conv_head", "bn2"} or value.ndim == 0:
        return value
    more = torch.zeros(CHANNELS - FEATURES, *value.shape[1:])
    if kind == "running_var":
        more += 1
    if kind == "bias":
        more[0] = 1
    return torch.cat([value, more])


def _open_gates(tower: torch.nn.Module) -> Parameters:
    """Set every gate of squeeze-and-excitation to the same number for every image."""
    for key, value in tower.state_dict().items():
        if ".squeeze_excite." in key:
            yield key, torch.full_like(value, OPEN_GATE if key.endswith("expand.bias") else 0.0)


def _text_tower(theirs: dict[str, torch.Tensor]) -> Parameters:
    for key, value in theirs.items():
        name = key.replace("transformer.resblocks", "encoder.layers")
        for old, new in TEXT.items():
            name = re.sub(rf"(^|\.){re.escape(old)}(?=\.|$)", rf"\g<1>{new}", name)
        if ".in_proj_" not in name:
            yield name, value
            continue
        for letter, part in zip("qkv", value.chunk(3), strict=True):
            yield name.replace("in_proj_", f"{letter}_proj."), part


if __name__ == "__main__":
    main()
