"""The tensors of questions with their images, as a processor makes them, and of answers behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

Tensors = dict[str, torch.Tensor]

NOT_INPUTS = frozenset({"labels"})
"""What processors return for training: PaliGemma's returns labels although no answer is given."""
TYPES = frozenset({"token_type_ids", "mm_token_type_ids"})
"""Inputs with a number per token, which some tokenizers return for models that do not take them."""


class Inputs:
    """Make the tensors of B questions, each with one image: (B, N) tokens, padded on the left.

    Generation needs the last token of every question at the end of its row; with padding there, models answer the
    padding, without any error.
    """

    def __init__(self, processor: Any, *, taken: Collection[str], dtype: torch.dtype, device: str, where: str) -> None:
        """Use `processor` for a model whose forward takes the arguments `taken`."""
        self._dropped = NOT_INPUTS | (TYPES - set(taken))
        self._processor, self._dtype, self._device, self._where = processor, dtype, device, where
        self.padding_side = "left"

    def __call__(self, prompts: Sequence[str], images: Sequence[Image.Image], *, start: bool) -> Tensors:
        """Return the tensors on the model's device; `start` lets the tokenizer add its start token.

        Raises:
            ModelError: the processor fails.
        """
        try:
            with quiet():
                found = self._processor(
                    text=list(prompts),
                    images=[[image] for image in images],
                    return_tensors="pt",
                    padding=len(prompts) > 1,
                    padding_side=self.padding_side,
                    add_special_tokens=start,
                )
        except Exception as error:  # processors raise errors of many kinds
            raise ModelError(
                f"{self._where}: its processor fails: {type(error).__name__}: {one_line(error)}"
            ) from error
        return {name: self._placed(one) for name, one in found.items() if name not in self._dropped}

    def _placed(self, tensor: Any) -> torch.Tensor:
        found = torch.as_tensor(tensor)
        return found.to(self._device, self._dtype if found.is_floating_point() else found.dtype)


def with_answer(inputs: Mapping[str, torch.Tensor], answer: Sequence[int], *, answer_type: int) -> Tensors:
    """Return the tensors of one question with the tokens of an answer behind it, for a pass over both."""
    tokens = inputs["input_ids"].new_tensor([answer])
    values = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    values["token_type_ids"] = torch.full_like(tokens, answer_type)
    values["mm_token_type_ids"] = torch.zeros_like(tokens)
    return {
        name: torch.cat([one, values[name].to(one.dtype)], dim=1) if name in values else one
        for name, one in inputs.items()
    }
