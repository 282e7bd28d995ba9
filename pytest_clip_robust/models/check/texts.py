"""Checks of the tokenizer: texts survive it, it belongs to the model's embeddings, and prompts fit the context."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.check.encoding import has_texts
from pytest_clip_robust.models.check.inside import Tokens, embeddings_of, tokens_of
from pytest_clip_robust.models.protocols import KnowsItsContext
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

LONG = "word " * 400
"""A text that is longer than every context."""
USED = 0.75
"""Smallest share of the embeddings that the model's own tokenizer uses; some tables are padded to a round number."""


def check_tokens(encoder: Any, texts: Sequence[str]) -> Check:
    """Judge whether texts survive decode(encode(text)), up to case, white space and punctuation."""
    name, expected = "tokens", "all survive, 0 unknown"
    if not has_texts(encoder):
        return not_applicable(name, "the model has no text tower")
    tokenizer = tokens_of(encoder)
    if tokenizer is None:
        return not_applicable(name, "the tokenizer of this encoder is not known")
    try:
        with quiet():
            return _judged_tokens(tokenizer, list(texts), embeddings_of(encoder), expected)
    except Exception as error:  # tokenizers raise errors of many kinds
        raise ModelError(f"its tokenizer failed: {type(error).__name__}: {one_line(error)}") from error


def _judged_tokens(tokenizer: Tokens, texts: list[str], embeddings: int, expected: str) -> Check:
    rows = tokenizer.numbers([*texts, LONG]).tolist()
    lost = [text for text, row in zip(texts, rows, strict=False) if letters(tokenizer.decode(row)) != letters(text)]
    unknown = sum(row.count(tokenizer.unknown) for row in rows[:-1]) if _is_special(tokenizer) else 0
    measured = f"{len(texts) - len(lost)} of {len(texts)} texts survive, {unknown} unknown tokens"
    if embeddings:
        measured += f", {tokenizer.size:,} tokens for {embeddings:,} embeddings"
    failure = warning = ""
    if embeddings and max(map(max, rows)) >= embeddings:
        failure = f"token {max(map(max, rows))} has no embedding: use the tokenizer that the model was trained with"
    elif lost:
        got = tokenizer.decode(rows[texts.index(lost[0])]).strip()
        failure = f"{lost[0]!r} becomes {got[:60]!r}: use the tokenizer that the model was trained with"
    elif unknown:
        failure = "the tokenizer does not know plain English words: use the one that the model was trained with"
    elif _loses_its_end(tokenizer, rows):
        failure = "truncation removes the end token of long texts: set it as the last token, where the tower reads"
    elif embeddings and tokenizer.size < USED * embeddings:
        warning = "the tokenizer has far fewer tokens than the model has embeddings: check that it is the model's own"
    return judged("tokens", measured, expected=expected, failure=failure, warning=warning)


def _is_special(tokenizer: Tokens) -> bool:
    """Return whether the token for unknown text means nothing else; CLIP's is also the one that ends a text."""
    return tokenizer.unknown is not None and tokenizer.unknown != tokenizer.end


def _loses_its_end(tokenizer: Tokens, rows: list[list[int]]) -> bool:
    *short, long = rows
    return tokenizer.end is not None and all(tokenizer.end in row for row in short) and tokenizer.end not in long


def letters(text: str) -> str:
    """Return the letters and digits of a text in lower case, without the marks of word boundaries.

    A tokenizer file need not name a decoder, and then those marks remain in what it decodes.

    >>> letters("A photo, of  a Cat.") == letters("Ġa Ġphoto Ġof Ġa Ġcat Ġ.") == "aphotoofacat"
    True
    """
    return re.sub(r"</w>|[\W_]", "", text.replace("\u0120", "").casefold())


def check_context(encoder: Any, texts: Sequence[str], prompts: Sequence[str]) -> Check:
    """Judge whether the texts of the batch and the profile's prompts fit the context of the text tower."""
    name = "context"
    if not has_texts(encoder):
        return not_applicable(name, "the model has no text tower")
    if not isinstance(encoder, KnowsItsContext):
        return not_applicable(name, "the encoder has no method too_long")
    short, long = encoder.too_long(list(texts)), encoder.too_long(list(prompts)) if prompts else []
    longest = max(prompts, key=len, default="")
    measured = f"truncated: {sum(short)} of {len(short)} texts of the batch, {sum(long)} of {len(long)} prompts"
    failure = warning = ""
    if any(short):
        failure = f"{texts[list(short).index(True)]!r} does not fit: check the context length of tokenizer and tower"
    elif any(long):
        warning = f"prompts such as {longest[:80]!r} are truncated: choose shorter templates"
    return judged(name, measured, expected="0", failure=failure, warning=warning)
