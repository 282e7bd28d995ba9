"""Checks of a large multimodal model: it is asked about the pictures of the embedded batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.check.batch import TEMPLATE, embedded_batch
from pytest_clip_robust.models.check.matching import SIGNIFICANT, better_than_guessing, guessed
from pytest_clip_robust.models.lmm.guard import TOLERANCES
from pytest_clip_robust.models.protocols import AnswersQuestions

QUESTION = "What is the main object in this image?"
SAME = 1e-4
"""Difference of log-probabilities between two equal questions, in nats."""
LIMIT = 16
"""Tokens of an answer in free text."""


def check_questions(model: AnswersQuestions, precision: str) -> list[Check]:
    """Return the checks of a model that its loader has asked about two images.

    Raises:
        ModelError: the model fails.
    """
    pictures, texts = embedded_batch()
    before, after = TEMPLATE.split("{}")
    names = [text.removeprefix(before).removesuffix(after) for text in texts]
    slower: list[str] = []
    notice, model.notice = model.notice, slower.append
    try:
        sums = _asked(model, pictures, names, len(pictures) // 2)
        again = _asked(model, pictures, names, len(pictures) // 2)
        single = _asked(model, pictures, names, 1)
        (tokens,) = model.generate(pictures[:1], [QUESTION], limit=LIMIT)
    finally:
        model.notice = notice
    return [
        _tower(model),
        judged("finite", f"{int((~np.isfinite(sums)).sum())} of {sums.size} log-probabilities with NaN or Inf",
               expected="only finite numbers",
               failure="" if np.isfinite(sums).all() else "check the weights, or run with --clip-precision fp32"),
        _same("repeat", "asked twice", sums, again, SAME),
        _same("batches", "asked together and one by one", sums, single, TOLERANCES[precision] * _longest(model, names)),
        judged("fast ways", f"{len(slower)} are not used" if slower else "all give what whole passes give",
               expected="all used", warning=" ".join(slower)),
        _text(model.text(tokens), len(tokens)),
        _objects(sums),
    ]  # fmt: skip


def _asked(model: AnswersQuestions, pictures: Sequence[Image], names: Sequence[str], size: int) -> np.ndarray:
    parts = row_slices(len(pictures), size)
    return np.concatenate([model.sums(pictures[part], QUESTION, names) for part in parts])


def _longest(model: AnswersQuestions, names: Sequence[str]) -> int:
    return int(model.sizes(QUESTION, names)[0].max())


def _tower(model: AnswersQuestions) -> Check:
    if not model.tower:
        return not_applicable("tower", "its config names no CLIP model that it is built on; add ?tower=SPEC")
    return judged("tower", model.tower, expected="a CLIP model")


def _same(name: str, how: str, found: np.ndarray, other: np.ndarray, most: float) -> Check:
    difference = float(np.abs(found - other).max())
    failure = "" if difference <= most else "answers must depend on image and question alone: check the model's code"
    return judged(name, f"{how}, differs by {difference:.1e} nats", expected=f"at most {most:.2g}", failure=failure)


def _text(text: str, tokens: int) -> Check:
    """Judge an answer in free text: it has words, and an end."""
    warning = ""
    if not text:
        warning = "the answer is empty: check the chat template and the end tokens"
    elif tokens >= LIMIT:
        warning = "the answer has no end: check the end tokens, or ask for short answers in the profile's question"
    return judged("free text", f"{text!r}", expected=f"words, with an end within {LIMIT} tokens", warning=warning)


def _objects(sums: np.ndarray) -> Check:
    """Judge whether the most likely name is that of the picture more often than by guessing."""
    count = len(sums)
    hits = int((sums.argmax(axis=1) == np.arange(count)).sum())
    p = guessed(hits, count)
    warning = (
        "it does not recognise everyday objects: unless it was trained for other pictures, check its weights and "
        "processor"
    )
    return judged(
        "matching",
        f"{hits} of {count} pictures (p {p:.1g})",
        expected=better_than_guessing(count),
        warning="" if p <= SIGNIFICANT else warning,
    )
