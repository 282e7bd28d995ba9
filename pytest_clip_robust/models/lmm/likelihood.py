"""Log-probabilities of answers to a question: behind one pass over question and images, or by a whole pass for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.models.lmm.inputs import Tensors, with_answer
from pytest_clip_robust.models.lmm.passes import Passes, Prefix

Answer = tuple[int, ...]
TokenScores = NDArray[np.float64]
"""The log-probability of each token of one answer, given the question, the image, and the tokens before it."""


class Likelihoods(NamedTuple):
    """The likelihoods of C candidates, in their order.

    sums: (C,) log-probability of each candidate, in nats: the sum over its tokens, without an end token behind them.
    tokens: (C,) number of its tokens. bytes: (C,) length of the candidate in UTF-8, without the space before it.
    """

    sums: NDArray[np.float64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]


class Cost(NamedTuple):
    """The memory of one row of a pass behind a prefix, in bytes: for each token of the prefix, and each of its own."""

    before: int
    each: int


def behind_prefix(
    passes: Passes, inputs: Tensors, answers: Sequence[Answer], *, cost: Cost, memory: int
) -> list[list[TokenScores]]:
    """Return, for each of B images, the log-probabilities of the tokens of all answers.

    There is one pass over the question with all images, and there are short ones behind it. The first token of an
    answer is read from the pass over the question, and the last is never passed. Equal answers are computed once. A
    short pass has as many answers as fit into `memory` bytes for all images, at least one.
    """
    prefix = passes.prefix(inputs)
    firsts = {one: prefix.scores[:, one[0]].double().cpu().numpy() for one in answers}
    found = [{one: first[image, None] for one, first in firsts.items()} for image in range(len(prefix.scores))]
    longer = sorted({one for one in answers if len(one) > 1}, key=lambda one: (len(one), one))
    length = prefix.mask.shape[1]
    for group in grouped(longer, before=length, cost=cost, memory=memory // len(found)):
        for of_image, rests in zip(found, _rest(passes, prefix, group), strict=True):
            for answer, rest in zip(group, rests, strict=True):
                of_image[answer] = np.concatenate([of_image[answer], rest])
    return [[of_image[one] for one in answers] for of_image in found]


def by_whole_passes(
    passes: Passes, inputs: Tensors, answers: Sequence[Answer], *, answer_type: int
) -> list[TokenScores]:
    """Return the same by one pass over image, question and answer for each distinct answer, as the library would."""
    found = {}
    for answer in dict.fromkeys(answers):
        scores = passes.whole(with_answer(inputs, answer, answer_type=answer_type), last=len(answer) + 1)
        found[answer] = _numpy(scores[torch.arange(len(answer)), torch.tensor(answer)])
    return [found[one] for one in answers]


def grouped(answers: Sequence[Answer], *, before: int, cost: Cost, memory: int) -> Iterator[list[Answer]]:
    """Yield answers that are sorted by length in groups of which each fits into `memory` bytes, or has one answer.

    before: number of tokens of the prefix, of which every answer has a copy.
    """
    group: list[Answer] = []
    for answer in answers:
        row = before * cost.before + len(answer) * cost.each
        if group and (len(group) + 1) * row > memory:
            yield group
            group = []
        group.append(answer)
    if group:
        yield group


def padded(answers: Sequence[Answer]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (R, T) tokens and their mask: answers without their last token, padded on the right.

    Padding on the left would shift the positions of the tokens, without any error. What the padding holds does not
    matter: no token of an answer is behind it.
    """
    rows = [torch.tensor(one[:-1]) for one in answers]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in rows], batch_first=True)
    return tokens, mask


def attended(prefix: Prefix, mask: torch.Tensor) -> torch.Tensor:
    """Return (B * R, N + T): the tokens of the prefix of each of B images, and those of each of R rows behind it.

    The model makes its attention of it. A mask with a boolean for each pair of tokens would be added to the scores as 0
    and 1 by some implementations of attention, without any error.
    """
    images, rows = len(prefix.mask), len(mask)
    return torch.cat([prefix.mask.repeat_interleave(rows, 0), mask.to(prefix.mask).repeat(images, 1)], dim=1)


def _rest(passes: Passes, prefix: Prefix, group: Sequence[Answer]) -> list[list[TokenScores]]:
    """Return, for each image, the log-probabilities of all tokens of each answer but the first."""
    images = len(prefix.mask)
    tokens, mask = padded(group)
    targets, _ = padded([(*one[1:], 0) for one in group])
    rows = tokens.to(prefix.mask.device).repeat(images, 1)
    scores = passes.behind(prefix, rows, attended(prefix, mask))
    wanted = targets.to(scores.device).repeat(images, 1)[..., None]
    found = scores.gather(2, wanted)[..., 0].double().cpu().numpy().reshape(images, len(group), -1)
    return [[row[: len(answer) - 1] for row, answer in zip(of_image, group, strict=True)] for of_image in found]


def _numpy(scores: torch.Tensor) -> TokenScores:
    found: TokenScores = scores.double().cpu().numpy()
    return found
