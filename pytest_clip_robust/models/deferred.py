"""Encoders that load their model when something is computed with it, and not before.

What is known of the model without loading it was found by an earlier load, see `known`. What its tokenizer said of
texts is kept as well, because a run asks for it even if every feature is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.protocols import PreprocessSteps
from pytest_clip_robust.system.notice import Notice, log_notice

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

MOST_TEXTS = 20_000
"""How many results are kept for one model, a few MB; the model is loaded for others."""


class TextResults:
    """Results of a model's tokenizer, by question and texts; `found` is JSON, and grows."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.grown = False

    def get(self, question: str, texts: object, answer: Callable[[], Any]) -> Any:
        """Return the result for `texts`; `answer` gives it if it is not known."""
        key = digest([question, texts])
        if key in self.found:
            return self.found[key]
        result = answer()
        if len(self.found) < MOST_TEXTS:
            self.found[key], self.grown = result, True
        return result


class Once:
    """Loads a model at the first call; one that could not be loaded is not tried again for every test."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load: Callable[[], Any] = cache(load)
        self._failure = ""

    def __call__(self) -> Any:
        """Return what `load` returns.

        Raises:
            ModelError: the model cannot be loaded, or could not be before.
        """
        if self._failure:
            raise ModelError(self._failure)
        try:
            return self._load()
        except ModelError as error:
            self._failure = str(error)
            raise


class DeferredDualEncoder:
    """A `DualEncoder` with dense features that knows its context, as all loaders of files return it."""

    def __init__(self, facts: Mapping[str, Any], load: Callable[[], Any], texts: TextResults) -> None:
        self.identity: str = facts["identity"]
        self.scale, self.bias = float(facts["scale"]), float(facts["bias"])
        self._encoder, self._texts = Once(load), texts

    @property
    def preprocess_steps(self) -> PreprocessSteps | None:
        """The steps of `preprocess`; loads the model."""
        steps: PreprocessSteps | None = self._encoder().preprocess_steps
        return steps

    def preprocess(self, image: Image) -> Any:
        """See `EncodesImages`."""
        return self._encoder().preprocess(image)

    def encode_image(self, pixels: torch.Tensor) -> Any:
        """See `EncodesImages`."""
        return self._encoder().encode_image(pixels)

    def encode_text(self, texts: list[str]) -> Any:
        """See `EncodesTexts`."""
        return self._encoder().encode_text(texts)

    def encode_dense(self, pixels: torch.Tensor) -> Any:
        """See `EncodesDensely`."""
        return self._encoder().encode_dense(pixels)

    def too_long(self, texts: list[str]) -> list[bool]:
        """See `KnowsItsContext`."""
        places = self._texts.get("too long", texts, lambda: np.flatnonzero(self._encoder().too_long(texts)).tolist())
        found = np.zeros(len(texts), bool)
        found[places] = True
        return [bool(one) for one in found]


class DeferredMultimodal:
    """An `AnswersQuestions`."""

    def __init__(self, facts: Mapping[str, Any], load: Callable[[], Any], texts: TextResults) -> None:
        self.identity: str = facts["identity"]
        self.tower: str = facts["tower"]
        self.notice: Notice = log_notice
        self._load, self._texts = Once(load), texts

    @property
    def _model(self) -> Any:
        model = self._load()
        model.notice = self.notice
        return model

    def sums(self, images: Sequence[Image], question: str, candidates: Sequence[str]) -> NDArray[np.float64]:
        """See `AnswersQuestions`."""
        found: NDArray[np.float64] = self._model.sums(images, question, candidates)
        return found

    def sizes(self, question: str, candidates: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `AnswersQuestions`."""
        asked = [question, list(candidates)]
        tokens, sizes = self._texts.get(
            "sizes", asked, lambda: [part.tolist() for part in self._model.sizes(question, candidates)]
        )
        return np.array(tokens, np.int64), np.array(sizes, np.int64)

    def generate(self, images: Sequence[Image], questions: Sequence[str], *, limit: int) -> list[tuple[int, ...]]:
        """See `AnswersQuestions`."""
        found: list[tuple[int, ...]] = self._model.generate(images, questions, limit=limit)
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """See `AnswersQuestions`."""
        return str(self._texts.get("text", list(tokens), lambda: self._model.text(tokens)))
