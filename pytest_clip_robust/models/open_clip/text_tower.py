"""Text towers of open_clip without the padding behind the texts.

open_clip's tokenizers fill every text up to the context of the model, usually 77 tokens, where a prompt has about
twelve. Features do not depend on that padding if it is masked, or if each token sees only those before it and the
features are taken at the last token of the text.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer
from torch import nn
from torch.func import functional_call

from pytest_clip_robust.models.compilation import TOLERANCE, Tower, cosine_distance

Ends = Callable[[torch.Tensor], torch.Tensor]
"""Returns for each of (B, L) tokens of B texts the position of the last one that the features depend on."""


class TextTower(NamedTuple):
    """`encode` turns (B, L) tokens into (B, D) features; `shorten` leaves out tokens that these do not depend on."""

    shorten: Callable[[torch.Tensor], torch.Tensor]
    encode: Tower


def text_tower(
    clip: Any, probe: torch.Tensor, *, precision: str, arithmetic: Callable[[], AbstractContextManager[None]]
) -> TextTower:
    """Return the text tower of `clip`; padding is left out if the features of the (B, L) tokens `probe` stay the same.

    The tokens of `shorten` are on the CPU. `arithmetic` opens the contexts in which the tower will be called.
    """
    whole = TextTower(lambda tokens: tokens, clip.encode_text)
    text = getattr(clip, "text", clip)
    ends = _ends(text)
    if ends is None:
        return whole
    short = TextTower(
        lambda tokens: tokens[:, : int(ends(tokens).max()) + 1].contiguous(),
        clip.encode_text if type(text) is HFTextEncoder else _Short(clip, text),
    )
    device = clip.logit_scale.device
    try:
        with torch.inference_mode(), arithmetic():
            found, expected = (tower.encode(tower.shorten(probe).to(device)) for tower in (short, whole))
    except Exception:  # noqa: BLE001 - models raise errors of many kinds, and the checks of the model report them
        return whole
    return short if cosine_distance(found, expected) < TOLERANCE[precision] else whole


class _Short:
    """A tower that is called with as many of its positions as there are tokens."""

    def __init__(self, clip: Any, text: Any) -> None:
        self._module, self._text = _EncodesTexts(clip), text
        self._name = "clip" if text is clip else "clip.text"

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        shorter = {
            f"{self._name}.positional_embedding": self._text.positional_embedding[:length],
            f"{self._name}.attn_mask": self._text.attn_mask[:length, :length],
        }
        features: torch.Tensor = functional_call(self._module, shorter, (tokens,))
        return features


class _EncodesTexts(nn.Module):
    """A module that is called to encode texts, which `functional_call` needs."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip: Any = clip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.clip.encode_text(tokens)
        return features


def _ends(text: Any) -> Ends | None:
    """Return the function that finds the end of each text, or None if features depend on all tokens."""
    # Subclasses may use more of the tokens, as may towers that also return the features of each one.
    if type(text) not in {CLIP, TextTransformer, HFTextEncoder} or getattr(text, "output_tokens", False):
        return None
    if type(text) is HFTextEncoder:
        padding = text.config.pad_token_id
        return lambda tokens: torch.where(tokens == padding, 0, torch.arange(tokens.shape[1])).amax(dim=1)
    if text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        return None
    of_clip = type(text) is CLIP
    pooling, eos = (text.text_pool_type, text.text_eos_id) if of_clip else (text.pool_type, text.eos_id)
    found: dict[str, Ends] = {
        "argmax": lambda tokens: tokens.argmax(dim=1),
        "eos": lambda tokens: (tokens == eos).int().argmax(dim=1),
    }
    return found.get(pooling)
