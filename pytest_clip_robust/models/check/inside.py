"""The parts of an encoder that can be inspected: its torch modules and its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

NOT_TOKENS = re.compile("position|type")
"""Names of embeddings of positions and segments."""
SPECIAL = ("<start_of_text>", "<end_of_text>")
"""The special tokens of open_clip's own tokenizer, which has no way to leave them out."""


class Tokens(NamedTuple):
    """A tokenizer with one interface.

    numbers: texts -> (B, L) token numbers, as the model gets them. decode: the reverse, without special tokens.
    unknown: the number of the token for unknown text, or None. size: the number of tokens that it knows.
    end: the number of the token that ends a text, or None.
    """

    numbers: Callable[[list[str]], torch.Tensor]
    decode: Callable[[Sequence[int]], str]
    unknown: int | None
    size: int
    end: int | None


def modules_of(encoder: object) -> dict[str, nn.Module]:
    """Return the torch modules that an encoder is, or holds in its attributes, by attribute.

    A module that is held twice, or is a part of another one, is left out.
    """
    if isinstance(encoder, nn.Module):
        return {"": encoder}
    held = {name: one for name, one in getattr(encoder, "__dict__", {}).items() if isinstance(one, nn.Module)}
    parts = {id(part) for module in held.values() for part in module.modules() if part is not module}
    first = {id(module): name for name, module in reversed(held.items())}
    found = {name: one for name, one in held.items() if id(one) not in parts and first[id(one)] == name}
    return {"": next(iter(found.values()))} if len(found) == 1 else found


def parameters_of(encoder: object) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of an encoder's modules by name; empty if it holds no torch module."""
    return {
        f"{prefix}.{name}" if prefix else name: tensor
        for prefix, module in modules_of(encoder).items()
        for name, tensor in module.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor)
    }


def embeddings_of(encoder: object) -> int:
    """Return the number of rows of the largest embedding table of tokens; 0 if there is no table."""
    tables = [
        one.num_embeddings
        for module in modules_of(encoder).values()
        for name, one in module.named_modules()
        if isinstance(one, nn.Embedding) and not NOT_TOKENS.search(name)
    ]
    return max(tables, default=0)


def tokens_of(encoder: object) -> Tokens | None:
    """Return the tokenizer of an encoder of open_clip or transformers; None if it is of another kind."""
    held: dict[str, Any] = getattr(encoder, "__dict__", {})
    if "_tokens" in held:
        texts = held["_tokens"]
        inner = getattr(texts, "__dict__", {}).get("_tokenizer")
        return None if inner is None else _of_transformers(inner, lambda strings: texts(strings)[:, 0])
    tokenizer: Any = held.get("_tokenizer")
    if hasattr(tokenizer, "byte_decoder"):
        return Tokens(
            tokenizer,
            lambda numbers: _without_special(tokenizer.decode([int(one) for one in numbers if one])),
            None,
            len(tokenizer.encoder),
            tokenizer.encoder[SPECIAL[1]],
        )
    inner = getattr(tokenizer, "tokenizer", None)
    if tokenizer is None or not hasattr(inner, "decode"):
        return None
    return _of_transformers(inner, tokenizer)


def _of_transformers(tokenizer: Any, numbers: Callable[[list[str]], torch.Tensor]) -> Tokens:
    ends = [getattr(tokenizer, name, None) for name in ("eos_token_id", "sep_token_id")]
    return Tokens(
        numbers,
        lambda found: str(tokenizer.decode([int(one) for one in found], skip_special_tokens=True)),
        getattr(tokenizer, "unk_token_id", None),
        len(tokenizer),
        next((one for one in ends if one is not None), None),
    )


def _without_special(text: str) -> str:
    for token in SPECIAL:
        text = text.replace(token, " ")
    return text
