"""Protocols that encoders implement, and the value that describes a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_clip_robust.errors import NotApplicableError
from pytest_clip_robust.models.card.facts import ModelCard

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.system.notice import Notice


@runtime_checkable
class EncodesImages(Protocol):
    """An image encoder. Arrays can be torch tensors or NumPy arrays.

    identity: a string that changes whenever weights or preprocessing change; it is part of the feature store's key.
    """

    identity: str

    def preprocess(self, image: Image) -> Any:
        """Turn one RGB image into a (C, H, W) float array; called in worker processes."""

    def encode_image(self, pixels: Any) -> Any:
        """Turn a (B, C, H, W) torch tensor into (B, D) features; they need not be normalised."""


@runtime_checkable
class EncodesTexts(Protocol):
    """A text encoder. Arrays can be torch tensors or NumPy arrays.

    identity: a string that changes whenever weights or tokenizer change; it is part of the feature store's key.
    """

    identity: str

    def encode_text(self, texts: list[str]) -> Any:
        """Turn B strings into (B, D) features; they need not be normalised."""


@runtime_checkable
class DualEncoder(EncodesImages, EncodesTexts, Protocol):
    """An image encoder and a text encoder into one space of D dimensions: what a ``py:module:factory`` returns.

    scale, bias: logits are ``scale * cosine + bias``, as the model was trained (bias 0 for softmax-trained models).
    identity: a string that changes whenever weights, preprocessing or tokenizer change.
    """

    scale: float
    bias: float


@runtime_checkable
class Classifies(Protocol):
    """Part of an image encoder in place of a text encoder: a head of its own, such as that of an ImageNet model.

    The attribute `classes` has the C classes in the order of the head's logits: the name of a class list, such as
    ``"imagenet-1k"``, or the classes themselves, as WordNet ids or names.
    """

    classes: str | Sequence[str]

    def classify(self, features: Any) -> Any:
        """Turn the (B, D) float32 NumPy array that `encode_image` gave into (B, C) logits, before any softmax."""


@runtime_checkable
class KnowsItsContext(Protocol):
    """Optional part of an encoder: it can tell which texts are too long for it."""

    def too_long(self, texts: list[str]) -> Sequence[bool]:
        """Return for each text whether it has more tokens than the context, so that `encode_text` truncates it."""


@runtime_checkable
class EncodesDensely(Protocol):
    """Optional part of an encoder: features of image regions, for correspondence between images."""

    def encode_dense(self, pixels: Any) -> Any:
        """Turn a (B, 3, H, W) torch tensor into (B, D, h, w) features; they need not be normalised.

        `pixels` are RGB in [0, 1], not normalised with a mean, of any size from 32 x 32 up. The grid of features
        covers the whole image evenly: each cell covers H / h by W / w pixels.
        """


@runtime_checkable
class AnswersQuestions(Protocol):
    """A large multimodal model: it answers questions about an image.

    identity: changes whenever weights, processor or chat template change, or the precision of the parameters.
    tower: the spec of the CLIP model whose image tower it is built on, or ``""`` if that is not known.
    notice: gets one-line remarks for the user while it answers.
    """

    identity: str
    tower: str
    notice: Notice

    def sums(self, images: Sequence[Image], question: str, candidates: Sequence[str]) -> NDArray[np.float64]:
        """Return (B, C) log-probabilities of candidates as the answer to a question about each of B RGB images."""

    def sizes(self, question: str, candidates: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (C,) the numbers of tokens and of bytes of candidates, without the white space around them."""

    def generate(self, images: Sequence[Image], questions: Sequence[str], *, limit: int) -> list[tuple[int, ...]]:
        """Return the tokens of the greedy answer to one question about each of B images, at most `limit` of them."""

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer, without special tokens and without white space around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSteps:
    """A `preprocess` in two steps, so that resized pixels can be cached and shared by several models.

    For every image, ``normalise(torch.tensor(resize(image))[None])[0]`` equals ``preprocess(image)`` bit for bit.

    identity: a string that changes whenever the output of `resize` changes; it is part of the pixel cache's key.
    resize: turns one RGB image into (H, W, 3) uint8 pixels; called in worker processes.
    normalise: turns (B, H, W, 3) uint8 pixels on any device into (B, 3, H, W) float32 on the same device.
    """

    identity: str
    resize: Callable[[Image], NDArray[np.uint8]]
    normalise: Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class PreprocessesInSteps(Protocol):
    """Optional part of an encoder: its `preprocess` in steps, or None if it cannot be split.

    With steps, `encode_image` receives tensors on the model's device.
    """

    preprocess_steps: PreprocessSteps | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that passed its checks, with the digests that are part of its features' keys.

    encoder: what the model can do: a DualEncoder; an image encoder that also is `Classifies`; a `FeaturePack`;
        `SavedPredictions`; or an `AnswersQuestions`. Optional parts are found by their protocols.
    weights: hex digest of the parameters' content; preprocess: of the image transform; text: of the tokenizer settings.
        A model that cannot tell them apart has the same digest in all three.
    precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``; ``"saved"`` for saved predictions.
    compiled: whether the run asked for torch.compile.
    notes: one-line remarks for the run's header, such as a default tag that was chosen.
    card: the facts that the loader knows; `load_model` adds those that spec, config and files state.
    """

    spec: ModelSpec
    encoder: Any
    weights: str
    preprocess: str
    text: str
    precision: str
    device: str
    compiled: bool = False
    notes: tuple[str, ...] = ()
    card: ModelCard = field(default_factory=ModelCard)

    @property
    def image_encoder(self) -> EncodesImages:
        """The image encoder.

        Raises:
            NotApplicableError: the model has none.
        """
        if isinstance(self.encoder, EncodesImages):
            return self.encoder
        raise NotApplicableError(f"{self.spec.label} {self._what_it_lacks('image')}")

    @property
    def text_encoder(self) -> EncodesTexts:
        """The text encoder.

        Raises:
            NotApplicableError: the model has none.
        """
        if isinstance(self.encoder, EncodesTexts):
            return self.encoder
        raise NotApplicableError(f"{self.spec.label} {self._what_it_lacks('text')}")

    def _what_it_lacks(self, tower: str) -> str:
        if isinstance(self.encoder, AnswersQuestions):
            return f"answers questions and has no {tower} features; test_multimodal.py measures its answers"
        return f"has no {tower} encoder"

    @property
    def multimodal(self) -> AnswersQuestions:
        """The large multimodal model.

        Raises:
            NotApplicableError: it is a model of another kind.
        """
        if isinstance(self.encoder, AnswersQuestions):
            return self.encoder
        raise NotApplicableError(f"{self.spec.label} is not a large multimodal model, which answers questions")

    @property
    def has_texts(self) -> bool:
        """Whether the model has a text encoder, or its stored features."""
        return isinstance(self.encoder, EncodesTexts) or getattr(self.encoder, "has_texts", False) is True

    @property
    def head(self) -> Classifies | None:
        """The model's own head, which answers in place of a zero-shot classifier, or None."""
        return self.encoder if isinstance(self.encoder, Classifies) else None

    @property
    def scale(self) -> float:
        """The scale of the logits; 1 for a head, whose logits are not scaled cosines."""
        return float(getattr(self.encoder, "scale", 1.0))

    @property
    def bias(self) -> float:
        """The bias of the logits; 0 for a head."""
        return float(getattr(self.encoder, "bias", 0.0))

    @property
    def arithmetic(self) -> str:
        """How features are computed, as a part of their key: features of equal arithmetic differ by rounding only.

        At fp32, devices and compilers differ by rounding only. At half precision they differ by more, so the kind of
        device and torch.compile are part of it.
        """
        stored = getattr(self.encoder, "stored_arithmetic", "")
        if stored or self.precision == "fp32":
            return str(stored or self.precision)
        return f"{self.precision}-{self.device.partition(':')[0]}{'-compiled' if self.compiled else ''}"

    @property
    def separate_preprocess(self) -> str:
        """The digest of the preprocessing alone, or ``""`` if it is known only together with the weights."""
        return "" if self.preprocess == self.weights else self.preprocess

    @property
    def steps(self) -> PreprocessSteps | None:
        """The encoder's `preprocess` in steps, or None if it cannot be split."""
        return self.encoder.preprocess_steps if isinstance(self.encoder, PreprocessesInSteps) else None
