"""The families of image-text-to-text models, and the few things that each does differently. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of models; the defaults are what most of them do.

    name: for messages.
    mark: the attribute of the processor that holds the text that an image replaces in a prompt.
    forms: prompts for models without a chat template, with ``{question}``, as the family's documentation writes them,
        by the type of their language model; ``""`` is every type. Empty if the right form cannot be known.
    ending: what the processor itself puts behind every prompt.
    answer_type: the ``token_type_ids`` of an answer's tokens; 1 marks those that see only what is before them.
    shifted: whether positions behind an image are counted from ``rope_deltas``, which the module sets in each pass.
    """

    name: str
    mark: str = "image_token"
    forms: Mapping[str, str] = field(default_factory=dict)
    ending: str = ""
    answer_type: int = 0
    shifted: bool = False


FAMILIES = {
    "llava": Family(name="LLaVA 1.5", forms={"llama": "USER: <image>\n{question} ASSISTANT:"}),
    "llava_next": Family(name="LLaVA 1.6", forms={"mistral": "[INST] <image>\n{question} [/INST]"}),
    "llava_onevision": Family(name="LLaVA-OneVision"),
    "qwen2_vl": Family(name="Qwen2-VL", shifted=True),
    "qwen2_5_vl": Family(name="Qwen2.5-VL", shifted=True),
    "qwen3_vl": Family(name="Qwen3-VL", shifted=True),
    "idefics3": Family(name="Idefics3"),
    "smolvlm": Family(name="SmolVLM"),
    "internvl": Family(name="InternVL"),
    "gemma3": Family(name="Gemma 3", mark="boi_token"),
    "fast_vlm": Family(name="FastVLM"),
    "paligemma": Family(name="PaliGemma", forms={"": "<image>answer en {question}"}, ending="\n", answer_type=1),
}
"""All families, by the ``model_type`` of their config."""
