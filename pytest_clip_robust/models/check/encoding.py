"""Encode the batch as a run would, with one-line errors; features are float32 arrays on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.outputs import float_array
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

Rows = NDArray[np.float32]


class Features(NamedTuple):
    """The (N, D) features of N pictures and of their N texts; `texts` is None for a model without a text tower."""

    images: Rows
    texts: Rows | None


class Repeats(NamedTuple):
    """The (2, D) features of the first two pictures as a batch of two, encoded twice, and of the first two texts."""

    images: Rows
    again: Rows
    texts: Rows | None


def encode_batch(encoder: Any, pixels: torch.Tensor, texts: Sequence[str]) -> Features:
    """Encode N preprocessed pictures and N texts.

    Raises:
        ModelError: a tower fails, or does not return one row of numbers per input.
    """
    return Features(image_features(encoder, pixels), text_features(encoder, texts) if has_texts(encoder) else None)


def encode_repeats(encoder: Any, pixels: torch.Tensor, texts: Sequence[str]) -> Repeats:
    """Encode the first two pictures twice, and the first two texts.

    Raises:
        ModelError: a tower fails, or does not return one row of numbers per input.
    """
    first, again = (image_features(encoder, pixels[:2]) for _ in range(2))
    return Repeats(first, again, text_features(encoder, texts[:2]) if has_texts(encoder) else None)


def has_texts(encoder: Any) -> bool:
    """Return whether a model has a text tower."""
    return callable(getattr(encoder, "encode_text", None))


def pixels_of(encoder: Any, images: Sequence[Image.Image]) -> torch.Tensor:
    """Return the preprocessed pictures as one (B, C, H, W) float32 tensor on the CPU.

    Raises:
        ModelError: preprocessing fails, or pictures differ in shape.
    """
    with quiet():
        try:
            return torch.stack(
                [torch.as_tensor(np.asarray(encoder.preprocess(one)), dtype=torch.float32) for one in images]
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's code can raise anything
            raise ModelError(f"preprocess failed: {type(error).__name__}: {one_line(error)}") from error


def image_features(encoder: Any, pixels: torch.Tensor) -> Rows:
    """Return the (B, D) features of preprocessed pictures.

    Raises:
        ModelError: the tower fails, or returns another shape.
    """
    return _rows(lambda: encoder.encode_image(_on_device(encoder, pixels)), "encode_image", len(pixels))


def text_features(encoder: Any, texts: Sequence[str]) -> Rows:
    """Return the (B, D) features of texts.

    Raises:
        ModelError: the tower fails, or returns another shape.
    """
    return _rows(lambda: encoder.encode_text(list(texts)), "encode_text", len(texts))


def unit(rows: Rows) -> Rows:
    """Return rows of norm 1; a row of zeros stays as it is."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


def _on_device(encoder: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels where the encoder expects them; one that preprocesses in steps gets them on its own device."""
    if getattr(encoder, "preprocess_steps", None) is None:
        return pixels
    device = getattr(encoder, "__dict__", {}).get("_device")
    return pixels if device is None else pixels.to(device)


def _rows(encode: Callable[[], Any], what: str, count: int) -> Rows:
    try:
        with torch.inference_mode(), quiet():
            rows = float_array(encode())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also pytest.skip, which would end the check without a result
        raise ModelError(f"{what} failed: {type(error).__name__}: {one_line(error)}") from error
    if rows.ndim != 2 or len(rows) != count or not rows.size:
        raise ModelError(f"{what} returns shape {rows.shape} for {count} inputs; expected ({count}, D)")
    return rows
