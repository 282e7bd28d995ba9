"""What every model must be able to do, whatever library it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pytest_clip_robust.models.spec import ModelSpec


@runtime_checkable
class DualEncoder(Protocol):
    """An image encoder and a text encoder into one space of D dimensions.

    This is all that a ``py:module:factory`` has to return. Arrays may be torch tensors or NumPy arrays.

    scale, bias: logits are ``scale * cosine + bias``, the model's own numbers (bias 0 for softmax-trained models).
    identity: a string that changes whenever weights, preprocessing or tokenizer change; stored features hang on it.
    """

    scale: float
    bias: float
    identity: str

    def preprocess(self, image: Image) -> Any:
        """Turn one RGB image into a (C, H, W) float array; called in worker processes."""

    def encode_image(self, pixels: Any) -> Any:
        """Turn a (B, C, H, W) torch tensor into (B, D) features, of any length (not normalised)."""

    def encode_text(self, texts: list[str]) -> Any:
        """Turn B strings into (B, D) features, of any length (not normalised)."""


@runtime_checkable
class KnowsItsContext(Protocol):
    """What an encoder may have besides: it knows which texts it cuts."""

    def too_long(self, texts: list[str]) -> Sequence[bool]:
        """Tell which of `texts` have more tokens than the context, so that `encode_text` cuts them."""


@runtime_checkable
class EncodesDensely(Protocol):
    """What an encoder may have besides: features of an image's parts, for correspondence between images."""

    def encode_dense(self, pixels: Any) -> Any:
        """Turn a (B, 3, H, W) torch tensor into (B, D, h, w) features, of any length (not normalised).

        `pixels` are RGB in [0, 1], not yet normalised with a mean, of any size from 32 x 32 up. The grid of features
        covers the whole image evenly, H / h by W / w pixels a cell.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSteps:
    """A `preprocess` as two steps, so that resized pixels can be kept and shared by models.

    For every image, ``normalise(torch.tensor(resize(image))[None])[0]`` equals ``preprocess(image)`` bit for bit.

    identity: a string that changes whenever what `resize` gives does; kept pixels hang on it.
    resize: turns one RGB image into (H, W, 3) pixels; called in worker processes.
    normalise: turns (B, H, W, 3) pixels on any device into (B, 3, H, W) float32 there.
    """

    identity: str
    resize: Callable[[Image], NDArray[np.uint8]]
    normalise: Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class PreprocessesInSteps(Protocol):
    """What an encoder may have besides: its `preprocess` in steps, or None where it cannot be split.

    With steps, `encode_image` gets tensors on the model's device.
    """

    preprocess_steps: PreprocessSteps | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that passed its checks, with the digests that key its features.

    weights: hex digest of the parameters' content; preprocess: of the image transform; text: of the tokenizer settings.
    precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
    notes: one-line remarks for the run's header, such as a default tag that was filled in.
    """

    spec: ModelSpec
    encoder: DualEncoder
    weights: str
    preprocess: str
    text: str
    precision: str
    device: str
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> PreprocessSteps | None:
        """The encoder's `preprocess` in steps, where it has them."""
        return self.encoder.preprocess_steps if isinstance(self.encoder, PreprocessesInSteps) else None
