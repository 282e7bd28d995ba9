"""Tiny random models of every family of image-text-to-text models, with processor and chat template, built offline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from pytest_clip_robust.models.lmm.families import FAMILIES
from pytest_clip_robust.models.lmm.model import MultimodalModel
from pytest_clip_robust.system.quiet import quiet

CORPUS = ["USER: What type of object is in this photo?\n\n ASSISTANT: boat house tabby cat dog German shepherd dog"]
START, END = "<|im_start|>", "<|im_end|>"
LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
SQUARE = {"height": 32, "width": 32}
GRID = [[32, 64], [64, 32], [64, 64]]


class Turn(NamedTuple):
    """The parts of a chat template: what is before a user's turn, the image, what ends the turn, and the answer."""

    before: str
    image: str
    after: str
    answer: str


TURNS = {
    "llava": Turn("USER: ", "<image>\n", " ", "ASSISTANT:"),
    "llava_next": Turn("[INST] ", "<image>\n", " [/INST]", ""),
    "llava_onevision": Turn(f"{START}user ", "<image>\n", END, f"{START}assistant\n"),
    "qwen2_vl": Turn(
        f"{START}user\n", "<|vision_start|><|image_pad|><|vision_end|>", f"{END}\n", f"{START}assistant\n"
    ),
    "idefics3": Turn(f"{START}User:", "<image>", "<end_of_utterance>\n", "Assistant:"),
    "internvl": Turn(f"{START}user\n", "<IMG_CONTEXT>\n", f"{END}\n", f"{START}assistant\n"),
    "gemma3": Turn("<s><start_of_turn>user\n", "<start_of_image>", "<end_of_turn>\n", "<start_of_turn>model\n"),
}
TURNS |= {"qwen2_5_vl": TURNS["qwen2_vl"], "qwen3_vl": TURNS["qwen2_vl"], "smolvlm": TURNS["idefics3"]}
TURNS["fast_vlm"] = TURNS["llava_onevision"]
"""The published form of each family's chats. PaliGemma has none."""


def template(turn: Turn) -> str:
    """Return a Jinja template for chats of one kind."""
    content = f"{{% if c['type'] == 'image' %}}{turn.image}{{% else %}}{{{{ c['text'] }}}}{{% endif %}}"
    turns = f"{turn.before}{{% for c in m['content'] %}}{content}{{% endfor %}}{turn.after}"
    answer = f"{{% if add_generation_prompt %}}{turn.answer}{{% endif %}}"
    return f"{{% for m in messages %}}{turns}{{% endfor %}}{answer}"


def tokenizer(*, starts: bool = False, **special: str) -> Any:
    """Return a byte-level tokenizer; `starts` puts <s> before every text, as Llama's does."""
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    named = ["<pad>", "<s>", "</s>", START, END, "<start_of_turn>", "<end_of_turn>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=named, initial_alphabet=alphabet, show_progress=False),
    )
    if starts:
        raw.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", extra_special_tokens=special
    )


def numbers(own: Any) -> dict[str, int]:
    """Return the settings of a language model that its tokenizer determines."""
    names = {name: getattr(own, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return {**names, "vocab_size": len(own)}


def _llava() -> tuple[Any, Any]:
    own = tokenizer(starts=True, image_token="<image>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER),
        text_config=hf.LlamaConfig(**LANGUAGE, **numbers(own)),
        image_token_index=own.image_token_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)
    sizes = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return hf.LlavaForConditionalGeneration(config), hf.LlavaProcessor(image_processor=images, tokenizer=own, **sizes)


def _llava_next() -> tuple[Any, Any]:
    own = tokenizer(starts=True, image_token="<image>")
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER),
        text_config=hf.MistralConfig(**LANGUAGE, **numbers(own), sliding_window=None),
        image_token_index=own.image_token_id,
        image_grid_pinpoints=GRID,
        vision_feature_layer=-2,
    )
    images = hf.LlavaNextImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE, image_grid_pinpoints=GRID)
    sizes = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = hf.LlavaNextProcessor(image_processor=images, tokenizer=own, **sizes)
    return hf.LlavaNextForConditionalGeneration(config), processor


def _llava_onevision() -> tuple[Any, Any]:
    own = tokenizer(image_token="<image>", video_token="<video>")
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER),
        text_config=hf.Qwen2Config(**LANGUAGE, **numbers(own)),
        image_token_index=own.image_token_id,
        video_token_index=own.video_token_id,
        image_grid_pinpoints=GRID,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=GRID),
        tokenizer=own,
        video_processor=hf.LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def _qwen(kind: str) -> tuple[Any, Any]:
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    marks = {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    own = tokenizer(**{f"{name}_token": mark for name, mark in (names | marks).items()})
    ids = {f"{name}_token_id": own.convert_tokens_to_ids(mark) for name, mark in (names | marks).items()}
    patches = {"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
    tower = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64, **patches}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
    text = {**LANGUAGE, **numbers(own), **rope}
    pixels = {"size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}}
    images = hf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, **pixels)
    videos = {"video_processor": hf.Qwen2VLVideoProcessor()}
    if kind == "qwen2_vl":
        tower = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 2, **patches}
        model = hf.Qwen2VLForConditionalGeneration(hf.Qwen2VLConfig(text_config=text, vision_config=tower, **ids))
        return model, hf.Qwen2VLProcessor(image_processor=images, tokenizer=own, **videos)
    if kind == "qwen2_5_vl":
        tower |= {"window_size": 32, "fullatt_block_indexes": [1]}
        config = hf.Qwen2_5_VLConfig(text_config=text, vision_config=tower, **ids)
        processor = hf.Qwen2_5_VLProcessor(image_processor=images, tokenizer=own, **videos)
        return hf.Qwen2_5_VLForConditionalGeneration(config), processor
    tower |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    config = hf.Qwen3VLConfig(text_config={**text, "head_dim": 16}, vision_config=tower, **ids)
    videos = {"video_processor": hf.Qwen3VLVideoProcessor()}
    return hf.Qwen3VLForConditionalGeneration(config), hf.Qwen3VLProcessor(
        image_processor=images, tokenizer=own, **videos
    )


def _idefics3() -> tuple[Any, Any]:
    own = _utterances()
    config = hf.Idefics3Config(vision_config=hf.Idefics3VisionConfig(**TOWER).to_dict(), **_idefics_settings(own))
    images = hf.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = hf.Idefics3Processor(image_processor=images, tokenizer=own, image_seq_len=4)
    return hf.Idefics3ForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    own = _utterances()
    config = hf.SmolVLMConfig(vision_config=hf.SmolVLMVisionConfig(**TOWER).to_dict(), **_idefics_settings(own))
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = hf.SmolVLMProcessor(
        image_processor=hf.SmolVLMImageProcessorPil(**sizes),
        tokenizer=own,
        image_seq_len=4,
        video_processor=hf.SmolVLMVideoProcessor(**sizes),
    )
    return hf.SmolVLMForConditionalGeneration(config), processor


def _utterances() -> Any:
    marks = {"fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    return tokenizer(image_token="<image>", end_of_utterance_token="<end_of_utterance>", **marks)


def _idefics_settings(own: Any) -> dict[str, Any]:
    text = hf.LlamaConfig(**LANGUAGE, **numbers(own)).to_dict()
    special = {"image_token_id": own.image_token_id, "pad_token_id": own.pad_token_id}
    return {"text_config": text, "scale_factor": 2, **special}


def _internvl() -> tuple[Any, Any]:
    marks = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    own = tokenizer(video_token="<video>", **marks)
    tower = {**TOWER, "image_size": [32, 32], "patch_size": [8, 8]}
    config = hf.InternVLConfig(
        vision_config=hf.InternVLVisionConfig(**tower),
        text_config=hf.Qwen2Config(**LANGUAGE, **numbers(own)),
        image_token_id=own.context_image_token_id,
        downsample_ratio=0.5,
    )
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=False),
        tokenizer=own,
        video_processor=hf.InternVLVideoProcessor(size=SQUARE),
        image_seq_length=4,
    )
    return hf.InternVLForConditionalGeneration(config), processor


def _gemma3() -> tuple[Any, Any]:
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    own = tokenizer(starts=True, image_token="<image_soft_token>", **marks)
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16, "tie_word_embeddings": False}
    text = {**LANGUAGE, **numbers(own), "head_dim": 16, **kinds}
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**TOWER),
        text_config=hf.Gemma3TextConfig(**text),
        mm_tokens_per_image=4,
        tie_word_embeddings=False,  # with tied ones, a model this small repeats its last token
        image_token_index=own.image_token_id,
        boi_token_index=own.boi_token_id,
        eoi_token_index=own.eoi_token_id,
    )
    images = hf.Gemma3ImageProcessor(size=SQUARE)
    processor = hf.Gemma3Processor(image_processor=images, tokenizer=own, image_seq_length=4)
    return hf.Gemma3ForConditionalGeneration(config), processor


def _fast_vlm() -> tuple[Any, Any]:
    own = tokenizer(image_token="<image>")
    config = hf.FastVlmConfig(
        vision_config=hf.TimmWrapperConfig(architecture="test_efficientnet", do_pooling=False, hidden_size=256),
        text_config=hf.Qwen2Config(**LANGUAGE, **numbers(own)),
        image_token_index=own.image_token_id,
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    sizes = {"patch_size": 32, "vision_feature_select_strategy": "full", "num_additional_image_tokens": 0}
    processor = hf.LlavaProcessor(image_processor=images, tokenizer=own, **sizes)
    return hf.FastVlmForConditionalGeneration(config), processor


def _paligemma() -> tuple[Any, Any]:
    own = tokenizer(image_token="<image>")
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER),
        text_config=hf.GemmaConfig(**LANGUAGE, **numbers(own), head_dim=16),
        image_token_index=own.image_token_id,
        projection_dim=64,
        hidden_size=64,
    )
    images = hf.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = 16
    return hf.PaliGemmaForConditionalGeneration(config), hf.PaliGemmaProcessor(image_processor=images, tokenizer=own)


BUILD = {
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "qwen2_vl": lambda: _qwen("qwen2_vl"),
    "qwen2_5_vl": lambda: _qwen("qwen2_5_vl"),
    "qwen3_vl": lambda: _qwen("qwen3_vl"),
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "fast_vlm": _fast_vlm,
    "paligemma": _paligemma,
}


def build(family: str) -> tuple[Any, Any]:
    """Return a model and its processor; equal calls return equal parameters."""
    torch.manual_seed(0)
    with quiet():
        model, processor = BUILD[family]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # many start near 0 or at 1, where mistakes do not show
            if parameter.dim() > 1 and parameter.std() < 0.05:
                parameter.normal_(0, 0.1, generator=generator)
            elif parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    if family == "fast_vlm":  # without the statistics of a training, batch normalisation lets no image through
        for norm in (one for one in model.modules() if isinstance(one, torch.nn.BatchNorm2d)):
            norm.momentum = 1.0
        model.train().model.vision_tower(torch.randn(4, 3, 64, 64, generator=generator))
    if family in TURNS:
        processor.chat_template = template(TURNS[family])
    return model.eval(), processor


def save(parts: tuple[Any, Any], folder: Path) -> Path:
    """Write a model and its processor as a folder of transformers."""
    with quiet():
        for part in parts:
            part.save_pretrained(folder)
    return folder


built = cache(build)


def asked(family: str, **options: Any) -> MultimodalModel:
    """Return the model of a family as it is before its first question; options are those of `MultimodalModel`."""
    module, processor = options.pop("parts", None) or built(family)
    settings = {"identity": family, "precision": "fp32", "device": "cpu", "where": f"model lmm:{family}"}
    return MultimodalModel(module, processor, FAMILIES[family], **(settings | options))


def prompt_of(family: str, question: str) -> str:
    """Return a question in the published form of the family, written without its template."""
    if family == "paligemma":
        return f"<image>answer en {question}"
    turn = TURNS[family]
    return f"{turn.before}{turn.image}{question}{turn.after}{turn.answer}"


def processed(family: str, text: str, image: Image.Image) -> Any:
    """Return what the library's processor makes of a text with one image, for a pass of the library's own."""
    processor = built(family)[1]
    with quiet():
        found = processor(
            text=[text], images=[[image]], return_tensors="pt", add_special_tokens=not text.startswith("<s>")
        )
    found.pop("labels", None)
    return found


def photo(width: int = 56, height: int = 40, seed: int = 0) -> Image.Image:
    """Return noise that is the same on every machine."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
