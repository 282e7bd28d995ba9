"""Tokenise texts as each family of models was trained: cleaning, context length, padding and attention mask."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.probes import PROBE_TEXTS
from pytest_clip_robust.system.quiet import quiet

LARGEST_CONTEXT = 100_000
"""Tokenizers that know no context length state a larger number."""
GEMMA_VOCABULARY = 256_000
"""Number of tokens of SigLIP 2, which is Gemma's; those of SigLIP have 32,000 and 250,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """Settings with which the texts of a family are tokenised.

    context: number of tokens, including start and end, to which longer texts are truncated; 0 if only the model's own
        position embeddings limit it.
    fill: whether every text is padded to the context; otherwise to the longest text of its batch.
    mask: whether padding is masked.
    clean: what is done before the tokenizer: ``""``, ``"lower"``, or ``"canonical"`` (see `canonical`).
    """

    context: int = 0
    fill: bool = False
    mask: bool = True
    clean: str = ""


FAMILIES = {
    # The checkpoints' position embeddings are those of BERT and XLM-R, for more tokens than CLIP training used.
    "align": TextSettings(context=64, fill=True),
    "altclip": TextSettings(context=77),
    "chinese_clip": TextSettings(context=52),
    # The sigmoid models were trained with padding that is not masked, and pool the last token.
    "siglip": TextSettings(fill=True, mask=False, clean="canonical"),
    "siglip2": TextSettings(fill=True, mask=False, clean="lower"),
    "tipsv2": TextSettings(context=64, fill=True, clean="lower"),
}
"""Families whose training was not what the tokenizer's own settings say, by model type."""


class Texts:
    """Turn texts into the tokens of a model.

    context: number of tokens to which longer texts are truncated.
    """

    def __init__(self, tokenizer: Any, settings: TextSettings) -> None:
        self.context = settings.context
        self._tokenizer, self._settings = tokenizer, settings
        self._clean = CLEANING[settings.clean]

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Return (B, 1, L) token numbers, or (B, 2, L) with their attention mask."""
        with quiet():
            tokens = self._tokenizer(
                [self._clean(text) for text in texts],
                padding="max_length" if self._settings.fill else "longest",
                truncation=True,
                max_length=self.context,
                return_attention_mask=self._settings.mask,
                return_tensors="pt",
            )
        names = ("input_ids", "attention_mask") if self._settings.mask else ("input_ids",)
        return torch.stack([tokens[name] for name in names], dim=1)

    def too_long(self, texts: list[str]) -> list[bool]:
        """Return for each text whether it has more tokens than the context."""
        with quiet():  # transformers warns about texts that are too long
            tokens = self._tokenizer([self._clean(text) for text in texts], return_attention_mask=False)
        return [len(one) > self.context for one in tokens["input_ids"]]

    def digest(self) -> str:
        """Return a digest of the settings, the vocabulary, and the tokens of a few texts."""
        settings = [getattr(self._settings, name) for name in TextSettings.__slots__]
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return digest([settings, self(list(PROBE_TEXTS)).tolist(), sorted(vocabulary.items())])


def text_settings(config: Any, tokenizer: Any) -> tuple[TextSettings, tuple[str, ...]]:
    """Return how the texts of the model with this config are tokenised, and a note on a context that we chose.

    Raises:
        ModelError: neither the config nor the tokenizer states a context length.
    """
    text = getattr(config, "text_config", config)
    settings = FAMILIES.get(config.model_type, TextSettings())
    if config.model_type == "siglip" and getattr(text, "vocab_size", 0) == GEMMA_VOCABULARY:
        settings = FAMILIES["siglip2"]  # those of one resolution are stored as SigLIP
    possible = min(_limits(text, tokenizer), default=settings.context)
    if possible < 1:
        raise ModelError("neither its config nor its tokenizer states a context length; set model_max_length")
    if not 0 < settings.context < possible:
        return replace(settings, context=possible), ()
    note = f"texts have at most {settings.context} tokens, as in the family's training; its files permit {possible}"
    return settings, (note,)


def canonical(text: str) -> str:
    """Return `text` in lower case, without ASCII punctuation, with single spaces, as SigLIP was trained.

    The tokenizer that transformers builds with the package sentencepiece does the same; others do not.
    Source: big_vision, evaluators/proj/image_text/prompt_engineering.py.

    >>> canonical("A photo,  of a Cat.")
    'a photo of a cat'
    """
    return re.sub(r"\s+", " ", text.lower().translate(str.maketrans("", "", string.punctuation))).strip()


CLEANING: dict[str, Callable[[str], str]] = {"": str, "lower": str.lower, "canonical": canonical}


def _limits(text: Any, tokenizer: Any) -> list[int]:
    """Return how many tokens the position embeddings and the tokenizer permit."""
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < LARGEST_CONTEXT else []
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa counts positions from the number of its padding token + 1.
        roberta = "roberta" in text.model_type or text.model_type == "altclip_text_model"
        limits.append(positions - (text.pad_token_id + 1 if roberta else 0))
    return limits
