"""Greedy generation: the most probable token at each step, until an end token or a number of tokens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from pytest_clip_robust.models.lmm.inputs import Tensors
from pytest_clip_robust.models.lmm.likelihood import Answer, TokenScores
from pytest_clip_robust.models.lmm.passes import Passes

END_TOKENS = ("<|im_end|>", "<end_of_turn>", "<end_of_utterance>", "<|eot_id|>")
"""Tokens that end a turn in chat templates; some checkpoints do not name theirs among their end tokens."""


class Generated(NamedTuple):
    """The tokens of one answer, with the end token if it has one, and the log-probability of each."""

    tokens: Answer
    scores: TokenScores


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the numbers of all tokens that end an answer: those of the model, its tokenizer and its chat template."""
    stated: Any = getattr(model.generation_config, "eos_token_id", None)
    numbers = {*(stated if isinstance(stated, list) else [stated]), tokenizer.eos_token_id}
    numbers |= {number for number, token in tokenizer.added_tokens_decoder.items() if str(token) in END_TOKENS}
    return tuple(sorted(number for number in numbers if number is not None))


def make_greedy(model: Any, ends: Collection[int], pad: int) -> None:
    """Replace the settings with which a model generates, so that no sampling, penalty or limit of its own remains.

    The token that an image replaces is never generated, as no pass could read it without another image.
    """
    names = ("image_token_id", "image_token_index")  # in new versions of transformers, and before
    image = next((getattr(model.config, name) for name in names if hasattr(model.config, name)), None)
    settings: Any = GenerationConfig
    model.generation_config = settings(
        do_sample=False,
        num_beams=1,
        eos_token_id=list(ends),
        pad_token_id=pad,
        suppress_tokens=None if image is None else [image],
    )


def generate(passes: Passes, inputs: Tensors, *, ends: Collection[int], limit: int, cached: bool) -> list[Generated]:
    """Return the answer to each question of a batch, of at most `limit` tokens; `cached` reuses their passes."""
    output = passes.generated(
        inputs, max_new_tokens=limit, use_cache=cached, output_logits=True, return_dict_in_generate=True
    )
    tokens = output.sequences[:, inputs["input_ids"].shape[1] :]
    steps = [
        step.float().log_softmax(-1).gather(1, tokens[:, place, None])[:, 0] for place, step in enumerate(output.logits)
    ]
    scores = torch.stack(steps, dim=1).double().cpu().numpy()
    return [
        Generated(answer, row[: len(answer)])
        for answer, row in zip((_until_end(row, ends) for row in tokens.tolist()), scores, strict=True)
    ]


def _until_end(tokens: list[int], ends: Collection[int]) -> Answer:
    last = next((place for place, token in enumerate(tokens) if token in ends), len(tokens) - 1)
    return tuple(tokens[: last + 1])
