"""Small random models of transformers, saved by save_pretrained with the tokenizer and processor of their family."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.processors import TemplateProcessing

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE = {"image_size": 32, "patch_size": 16, **SIZE}
CROPPED = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
SQUASHED = {"size": {"height": 32, "width": 32}}
WORDS = [f"▁{word}" for word in ("a", "photo", "of", "cat", "dog", "red", "word")]
CHARACTERS = string.ascii_letters + string.digits + ".,!?'"


def clip_tokenizer() -> Any:
    letters = sorted(ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return hf.CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=77)


def bert_tokenizer() -> Any:
    letters = [*CHARACTERS, "猫", "的"]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return hf.BertTokenizer(vocab={name: i for i, name in enumerate(names)}, model_max_length=512)


def roberta_tokenizer() -> Any:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *WORDS, *CHARACTERS, "<mask>"]
    return hf.XLMRobertaTokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], model_max_length=512)


def t5_tokenizer() -> Any:
    """A tokenizer of SigLIP as it is without sentencepiece: it neither lower-cases nor removes punctuation."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *WORDS, *CHARACTERS]
    fast = Tokenizer(Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=2))
    fast.pre_tokenizer = Metaspace()
    fast.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=fast, model_max_length=64, model_input_names=["input_ids"], **special
    )


def gemma_tokenizer(kind: Any) -> Any:
    """A tokenizer of SigLIP 2: Gemma's knows upper case, that of NaFlex lower-cases."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *CHARACTERS]
    return kind(vocab={name: i for i, name in enumerate(names)}, merges=[], padding_side="right")


def build(family: str) -> tuple[Any, Any, Any]:
    """Return model, tokenizer and image processor."""
    torch.manual_seed(len(family))
    model, tokenizer, processor = BUILD[family]()
    for parameter in model.parameters():  # many start at 0 or 1, where mistakes do not show
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval(), tokenizer, processor


def text(tokenizer: Any, positions: int = 77, **more: Any) -> dict[str, Any]:
    return {"vocab_size": len(tokenizer), "max_position_embeddings": positions, **SIZE, **more}


def _clip() -> tuple[Any, Any, Any]:
    own = clip_tokenizer()
    settings = text(own, bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)
    config = hf.CLIPConfig(text_config=settings, vision_config=IMAGE, projection_dim=12)
    return hf.CLIPModel(config), own, hf.CLIPImageProcessor(**CROPPED)


def _metaclip() -> tuple[Any, Any, Any]:
    own = roberta_tokenizer()
    config = hf.MetaClip2Config(text_config=text(own, eos_token_id=2), vision_config=IMAGE, projection_dim=12)
    return hf.MetaClip2Model(config), own, hf.CLIPImageProcessor(**CROPPED)


def _siglip() -> tuple[Any, Any, Any]:
    own = t5_tokenizer()
    config = hf.SiglipConfig(text_config=text(own, 64), vision_config=IMAGE)
    return _sigmoid(hf.SiglipModel(config)), own, hf.SiglipImageProcessor(**SQUASHED)


def _siglip2() -> tuple[Any, Any, Any]:
    own = gemma_tokenizer(hf.GemmaTokenizer)
    config = hf.SiglipConfig(text_config=text(own, 64, vocab_size=256_000), vision_config=IMAGE)
    return _sigmoid(hf.SiglipModel(config)), own, hf.SiglipImageProcessor(**SQUASHED)


def _naflex() -> tuple[Any, Any, Any]:
    own = gemma_tokenizer(hf.Siglip2Tokenizer)
    image = {"num_patches": 16, "patch_size": 16, **SIZE}
    config = hf.Siglip2Config(text_config=text(own, 64), vision_config=image)
    return _sigmoid(hf.Siglip2Model(config)), own, hf.Siglip2ImageProcessor(max_num_patches=16, patch_size=16)


def _sigmoid(model: Any) -> Any:
    model.logit_scale.data.fill_(2.0)
    model.logit_bias.data.fill_(-10.0)
    return model


def _align() -> tuple[Any, Any, Any]:
    own = bert_tokenizer()
    stages = {
        "kernel_sizes": [3, 3],
        "in_channels": [32, 16],
        "out_channels": [16, 24],
        "depthwise_padding": [],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
    }
    widths = {"hidden_dim": 16, "width_coefficient": 1.0, "depth_coefficient": 1.0}
    vision = {"image_size": 32, "initializer_range": 0.3, **widths, **stages}
    config = hf.AlignConfig(text_config=text(own, 512), vision_config=vision, projection_dim=24)
    model = hf.AlignModel(config)
    model.temperature.data.fill_(0.1)
    return model, own, hf.EfficientNetImageProcessor(size={"height": 32, "width": 32})


def _altclip() -> tuple[Any, Any, Any]:
    own = roberta_tokenizer()
    config = hf.AltCLIPConfig(
        text_config=text(own, 514, project_dim=16, pad_token_id=1), vision_config=IMAGE, projection_dim=12
    )
    return hf.AltCLIPModel(config), own, hf.CLIPImageProcessor(**CROPPED)


def _chinese() -> tuple[Any, Any, Any]:
    own = bert_tokenizer()
    config = hf.ChineseCLIPConfig(text_config=text(own, 512), vision_config=IMAGE, projection_dim=12)
    return hf.ChineseCLIPModel(config), own, hf.ChineseCLIPImageProcessor(do_center_crop=False, **SQUASHED)


def _dual() -> tuple[Any, Any, Any]:
    own = bert_tokenizer()
    vision, bert = hf.ViTConfig(**IMAGE), hf.BertConfig(**text(own, 40))
    config = hf.VisionTextDualEncoderConfig.from_vision_text_configs(vision, bert, projection_dim=12)
    return hf.VisionTextDualEncoderModel(config), own, hf.ViTImageProcessor(**SQUASHED)


BUILD = {
    "CLIP": _clip,
    "MetaCLIP 2": _metaclip,
    "SigLIP": _siglip,
    "SigLIP 2": _siglip2,
    "SigLIP 2 NaFlex": _naflex,
    "ALIGN": _align,
    "AltCLIP": _altclip,
    "Chinese-CLIP": _chinese,
    "dual encoder": _dual,
}


def save(parts: tuple[Any, Any, Any], folder: Path) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    return folder


built = cache(build)
