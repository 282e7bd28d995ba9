"""Dense features of pictures that are all of one size, in as much memory as there is, and checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.encoding.engines.batches import BatchEncoder
from pytest_clip_robust.errors import ClipRobustError, DataError, ModelError
from pytest_clip_robust.models.protocols import EncodesDensely, LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import one_line

SMALLEST = 32
"""Pixels below which a picture has no parts that a tower could tell apart."""

DENSE_ON_ACCELERATOR, DENSE_ON_CPU = 16, 1


def densely(model: LoadedModel) -> EncodesDensely:
    """Return the encoder of `model`, which has dense features.

    Raises:
        ModelError: it has none.
    """
    if isinstance(model.encoder, EncodesDensely):
        return model.encoder
    raise ModelError(
        f"model {model.spec.label}: its {type(model.encoder).__name__} has no encode_dense(pixels), which features of "
        "an image's parts need: add it (docs/models.md), or leave correspondence out"
    )


def encode_dense(
    model: LoadedModel,
    images: NDArray[np.uint8],
    *,
    samples: Sequence[str] = (),
    batch_size: int | None = None,
    notice: Notice = log_notice,
) -> torch.Tensor:
    """Return the (B, D, h, w) float32 features, on the CPU, of (B, H, W, 3) uint8 RGB `images`, not normalised.

    The grid of features covers each image evenly. `samples` names the images in messages. By default a batch has 16
    images on an accelerator and 1 on a CPU; it is halved where the device's memory does not suffice.

    Raises:
        DataError: an image has less than 32 pixels a side.
        ModelError: the model has no dense features, fails, or gives unusable ones.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"images: {images.dtype} of shape {images.shape}; expected uint8 of (B, H, W, 3)")
    names = list(samples) or [f"image {position}" for position in range(len(images))]
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST:
        raise DataError(f"{names[0]!r} has {width}x{height} pixels; dense features need {SMALLEST} a side")
    encoder, who = densely(model), f"model {model.spec.label}: encode_dense"
    grid: tuple[int, ...] = ()

    def rows(batch: NDArray[np.uint8]) -> torch.Tensor:
        """Return (B, D * h * w) features: rows are what a BatchEncoder checks."""
        nonlocal grid
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 255
        features = _call(encoder, pixels, who)
        if features.ndim != 4 or not features.numel() or (grid and features.shape[1:] != grid):
            expected = f"({len(batch)}, {', '.join(map(str, grid)) or 'D, h, w'})"
            raise ModelError(f"{who} gives shape {tuple(features.shape)}; expected {expected}")
        grid = tuple(features.shape[1:])
        return features.flatten(1)

    encode = BatchEncoder(rows, who=who, notice=notice)
    size = batch_size or (DENSE_ON_CPU if model.device == "cpu" else DENSE_ON_ACCELERATOR)
    features = [encode(images[at : at + size], names[at : at + size]) for at in range(0, len(images), size)]
    return torch.from_numpy(np.concatenate(features)).view(-1, *grid)


def _call(encoder: EncodesDensely, pixels: torch.Tensor, who: str) -> torch.Tensor:
    try:
        return torch.as_tensor(encoder.encode_dense(pixels))
    except torch.cuda.OutOfMemoryError:
        raise
    except ClipRobustError as error:
        raise ModelError(f"{who}: {error}") from error
    except Exception as error:
        raise ModelError(f"{who} failed: {type(error).__name__}: {one_line(error)}") from error
