"""A large multimodal model that answers questions about images, by the likelihood of candidates or by generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.errors import DataError, ModelError, shown
from pytest_clip_robust.models.lmm.families import Family
from pytest_clip_robust.models.lmm.generation import Generated, end_tokens, generate, make_greedy
from pytest_clip_robust.models.lmm.guard import TOLERANCES, Guard
from pytest_clip_robust.models.lmm.inputs import Inputs, Tensors, with_answer
from pytest_clip_robust.models.lmm.likelihood import (
    Answer,
    Cost,
    Likelihoods,
    TokenScores,
    behind_prefix,
    by_whole_passes,
    grouped,
)
from pytest_clip_robust.models.lmm.passes import Passes, bytes_per_token
from pytest_clip_robust.models.lmm.wording import Asked, Wording
from pytest_clip_robust.system.notice import Notice, log_notice

GIB = 2**30
CACHE_MEMORY = {"cpu": GIB}
LARGE_CACHE_MEMORY = 4 * GIB
"""Memory for the caches of one pass, in bytes, on the CPU and on other devices. It does not depend on what is free, so
that equal runs have equal passes."""
PROBES = ("a", "a boat", "two small brown dogs in front of a house")
"""Answers with which the fast way is tested, in addition to candidates, which may all have one token."""
TESTED = 3
"""How many candidates it is tested with."""
STEPS = 8
"""How many generated tokens the fast ways of generation are tested with."""


class MultimodalModel:
    """A model of transformers that answers questions about an image.

    identity: changes whenever weights, processor or chat template change, or the precision of the parameters.
    tower: the spec of the CLIP model whose image tower it is built on, or ``""`` if that is not known.
    stated: what states it: ``"the spec"``, or ``"its config"``.
    parameters: their number.
    context: the number of tokens for question, image and answer together, or None if the config states none.
    cache_bytes: the memory of the cache for each token, in bytes.
    notes: one-line remarks for the run's header.
    notice: gets a line if a fast way is not used because it does not give what whole passes give.
    """

    def __init__(
        self,
        module: Any,
        processor: Any,
        family: Family,
        *,
        identity: str,
        precision: str,
        device: str,
        where: str,
        tower: tuple[str, str] = ("", ""),
        memory: int | None = None,
        notes: Sequence[str] = (),
        notice: Notice = log_notice,
    ) -> None:
        """Take a checked module, on its device and at its precision; `memory` is that for caches, in bytes.

        Raises:
            ModelError: how to ask the model is not known.
        """
        text = module.config.get_text_config()
        self.identity, (self.tower, self.stated) = identity, tower
        self.parameters = sum(one.numel() for one in module.parameters())
        self.context = getattr(text, "max_position_embeddings", None)
        self.cache_bytes = bytes_per_token(module.config, module.dtype)
        self._where, self._family, self._precision = where, family, precision
        self._tokenizer = processor.tokenizer
        self._wording = Wording(processor, family, language=text.model_type, where=where)
        self._passes = Passes(module, shifted=family.shifted, device=device, where=where)
        self._inputs = Inputs(processor, taken=self._passes.taken, dtype=module.dtype, device=device, where=where)
        self._memory = memory or CACHE_MEMORY.get(torch.device(device).type, LARGE_CACHE_MEMORY)
        # Each token has logits at the precision of the model, and log-probabilities and a copy of them in fp32.
        self._cost = Cost(self.cache_bytes, self.cache_bytes + text.vocab_size * (module.dtype.itemsize + 8))
        self._ends = end_tokens(module, self._tokenizer)
        make_greedy(module, self._ends, self._tokenizer.pad_token_id or 0)
        self.notes = (*notes, *([self._wording.note] if self._wording.note else []))
        self.notice = notice
        guard = partial(Guard, precision=precision, notice=self._notify, where=where)
        whole = "every candidate has a pass over the image of its own, which takes longer"
        self._prefix_guard = guard("reusing the pass over an image", whole)
        self._images_guard = guard("one pass over several images", "each image has passes of its own")
        self._batch_guard = guard("generating for several images at once", "each image has passes of its own")
        self._cache_guard = guard("generating with a cache", "every token has a pass over the image of its own")

    def likelihoods(self, image: Image.Image, question: str, candidates: Sequence[str]) -> Likelihoods:
        """Return the log-probability of each candidate as the answer to a question about an RGB image.

        Raises:
            DataError, ModelError: as `sums`.
        """
        return Likelihoods(self.sums([image], question, candidates)[0], *self.sizes(question, candidates))

    def sums(self, images: Sequence[Image.Image], question: str, candidates: Sequence[str]) -> NDArray[np.float64]:
        """Return (B, C) log-probabilities of candidates as the answer to a question about each of B RGB images.

        There is one pass over each image, and short passes over the candidates behind it; candidates that are equal, or
        equal but for white space around them, have equal values. On the first question this is compared with a whole
        pass for each of a few candidates, and if it differs, every candidate has a whole pass from then on. Images
        share their passes if all candidates of all images fit into one, no question is padded, and the first images
        have the log-probabilities of whole passes; otherwise they are asked about one by one.

        Raises:
            DataError: question or candidates are empty, have special tokens, or are longer than the context.
            ModelError: the model fails.
        """
        if not candidates:
            raise DataError(f"{self._where}: no candidates for question {shown(question)}")
        if not images:
            return np.zeros((0, len(candidates)))
        asked = self._wording.ask(question)
        answers = self._wording.answers(asked, candidates)
        batch = Batch(self._tensors, [asked.border] * len(images), images)
        self._wording.check_question(asked, batch.together["input_ids"][0].tolist())
        self._check_room(_width(batch.together), answers, candidates)
        if len(images) > 1 and self._share_passes(batch, asked, answers):
            scores = self._behind(batch.together, answers)
        else:
            scores = [self._scores(inputs, asked, answers) for inputs in batch.alone]
        return np.array([[one.sum() for one in of_image] for of_image in scores])

    def sizes(self, question: str, candidates: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (C,) the numbers of tokens and of bytes of candidates, without the white space around them.

        Raises:
            DataError: question or candidates are empty, or have special tokens.
        """
        return _sizes(self._wording.answers(self._wording.ask(question), candidates), candidates)

    def generate(self, images: Sequence[Image.Image], questions: Sequence[str], *, limit: int) -> list[Answer]:
        """Return the tokens of the greedy answer to one question about each of the B images, at most `limit` of them.

        The B questions are one batch, if the first batches have the log-probabilities of single questions; otherwise
        they are answered one by one. An answer that is complete ends with an end token.

        Raises:
            DataError: a question is empty, has special tokens, or leaves no room in the context.
            ModelError: the model fails.
        """
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images, and {len(questions)} questions")
        if limit < 1:
            raise ValueError(f"limit={limit}; expected at least one token")
        if not questions:
            return []
        prompts = [self._wording.ask(question).prompt for question in questions]
        batch = Batch(self._tensors, prompts, images)
        return [one.tokens for one in self._generated(batch, limit)]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer, without special tokens and without white space around it."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def answers(self, images: Sequence[Image.Image], questions: Sequence[str], *, limit: int) -> list[str]:
        """Return the texts of what `generate` returns."""
        return [self.text(tokens) for tokens in self.generate(images, questions, limit=limit)]

    def next_token(self, image: Image.Image, question: str) -> torch.Tensor:
        """Return the (V,) log-probabilities of the first token of an answer.

        Raises:
            ModelError: the pass fails.
        """
        return self._passes.prefix(self._tensors([self._wording.ask(question).border], [image])).scores[0]

    def check(self, images: Sequence[Image.Image], question: str, *, scores: torch.Tensor | None = None) -> None:
        """Check that two images can be asked about, that answers depend on the image, and a question on no answer.

        scores: what `next_token` returns for the first image, if it is known.

        Raises:
            ModelError: the passes fail, or one of this does not hold.
        """
        asked = self._wording.ask(question)
        first, second = (self._tensors([asked.border], [image]) for image in images)
        scores = self._passes.prefix(first).scores[0] if scores is None else scores
        if torch.equal(scores, self._passes.prefix(second).scores[0]):
            raise ModelError(
                f"{self._where}: two different images have exactly the same answer, so the image does not reach the "
                "language model"
            )
        # PaliGemma's tokens of the question see each other; older versions of transformers add the answer to them.
        (answer,) = self._wording.answers(asked, PROBES[-1:])
        followed = with_answer(first, answer, answer_type=self._family.answer_type)
        after = self._passes.whole(followed, last=len(answer) + 1)[0]
        seen = [int(scores.argmax()), answer[0]]
        if (leak := float((scores - after)[seen].abs().max())) > TOLERANCES[self._precision]:
            raise ModelError(
                f"{self._where}: an answer changes what is before it, by {leak:.2g} nats, so that likelihoods are not "
                "known; upgrade transformers"
            )

    def _notify(self, line: str) -> None:
        self.notice(line)

    def _tensors(self, prompts: Sequence[str], images: Sequence[Image.Image]) -> Tensors:
        return self._inputs(prompts, images, start=not self._wording.starts_itself(prompts[0]))

    def _check_room(self, length: int, answers: Sequence[Answer], names: Sequence[str]) -> None:
        for answer, name in zip(answers, names, strict=True):
            if self.context is not None and length + len(answer) > self.context:
                raise DataError(
                    f"{self._where}: the answer {shown(name)} needs {len(answer)} tokens, and question and image take "
                    f"{length:,} of the {self.context:,} that the model can read; shorten it, or use smaller images"
                )

    def _share_passes(self, batch: Batch, asked: Asked, answers: Sequence[Answer]) -> bool:
        """Return whether the images of a batch are asked about in passes that they share."""
        inputs, images = batch.together, len(batch.images)
        length = _width(inputs)
        groups = grouped(sorted(set(answers), key=len), before=length, cost=self._cost, memory=self._memory // images)
        if len(list(groups)) > 1 or not inputs["attention_mask"].all():
            return False
        sample = self._sample(asked, answers, length)

        def fast() -> list[TokenScores]:
            found = self._behind(inputs, sample)
            return [*found[0], *found[-1]]

        def whole() -> list[TokenScores]:
            return [one for inputs in (batch.alone[0], batch.alone[-1]) for one in self._whole(inputs, sample)]

        return self._images_guard.allows(length, fast=fast, whole=whole)

    def _scores(self, inputs: Tensors, asked: Asked, answers: Sequence[Answer]) -> list[TokenScores]:
        """Return the log-probabilities of the tokens of answers to a question about one image."""
        length = _width(inputs)
        sample = self._sample(asked, answers, length)
        reuse = self._prefix_guard.allows(
            length, fast=lambda: self._behind(inputs, sample)[0], whole=lambda: self._whole(inputs, sample)
        )
        return self._behind(inputs, answers)[0] if reuse else self._whole(inputs, answers)

    def _behind(self, inputs: Tensors, answers: Sequence[Answer]) -> list[list[TokenScores]]:
        return behind_prefix(self._passes, inputs, answers, cost=self._cost, memory=self._memory)

    def _whole(self, inputs: Tensors, answers: Sequence[Answer]) -> list[TokenScores]:
        return by_whole_passes(self._passes, inputs, answers, answer_type=self._family.answer_type)

    def _sample(self, asked: Asked, answers: Sequence[Answer], length: int) -> list[Answer]:
        """Return answers to test with: the shortest, the longest and one between, and the probes that have room."""
        ordered = sorted(set(answers), key=lambda one: (len(one), one))
        places = np.linspace(0, len(ordered) - 1, min(TESTED, len(ordered))).astype(int)
        probes = self._wording.answers(asked, PROBES)
        room = np.inf if self.context is None else self.context - length
        return [*(ordered[place] for place in places), *(one for one in probes if len(one) <= room)]

    def _generated(self, batch: Batch, limit: int) -> list[Generated]:
        if len(batch.prompts) > 1 and self._agrees(self._batch_guard, [batch.together], batch):
            return self._answered([batch.together], limit, cached=True)
        cached = self._agrees(self._cache_guard, batch.alone, batch)
        return self._answered(batch.alone, limit, cached=cached)

    def _agrees(self, guard: Guard, rows: Sequence[Tensors], batch: Batch) -> bool:
        """Return whether the first tokens that are generated have the log-probabilities of whole passes."""
        steps: list[Generated] = []

        def fast() -> list[TokenScores]:
            steps.extend(self._answered(rows, STEPS, cached=True))
            return [one.scores for one in steps]

        def whole() -> list[TokenScores]:
            score = partial(by_whole_passes, self._passes, answer_type=self._family.answer_type)
            return [score(one, [step.tokens])[0] for one, step in zip(batch.alone, steps, strict=False)]

        return guard.allows(max(map(_width, rows)), fast=fast, whole=whole)

    def _answered(self, rows: Sequence[Tensors], limit: int, *, cached: bool) -> list[Generated]:
        return [
            answer
            for one in rows
            for answer in generate(self._passes, one, ends=self._ends, limit=self._room(one, limit), cached=cached)
        ]

    def _room(self, inputs: Tensors, limit: int) -> int:
        """Return how many tokens can be generated."""
        self._check_room(_width(inputs), [(0,)], ["of at least one token"])
        return limit if self.context is None else min(limit, self.context - _width(inputs))


@dataclass(frozen=True)
class Batch:
    """Questions about one image each, which the processor turns into tensors when they are needed."""

    tensors: Callable[[Sequence[str], Sequence[Image.Image]], Tensors]
    prompts: Sequence[str]
    images: Sequence[Image.Image]

    @cached_property
    def together(self) -> Tensors:
        """The tensors of all questions in one batch."""
        return self.tensors(self.prompts, self.images)

    @cached_property
    def alone(self) -> list[Tensors]:
        """The tensors of each question in a batch of its own."""
        if len(self.prompts) == 1:
            return [self.together]
        return [self.tensors([prompt], [image]) for prompt, image in zip(self.prompts, self.images, strict=True)]


def _sizes(answers: Sequence[Answer], candidates: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    tokens = np.array([len(one) for one in answers], dtype=np.int64)
    return tokens, np.array([len(one.strip().encode()) for one in candidates], dtype=np.int64)


def _width(inputs: Tensors) -> int:
    """Return the number of tokens of the questions of a batch, with their padding."""
    return inputs["input_ids"].shape[1]
