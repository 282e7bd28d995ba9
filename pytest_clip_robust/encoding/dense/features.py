"""Dense features: a grid of feature vectors for each of several pictures of one size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.engines.batches import BatchEncoder
from pytest_clip_robust.errors import ClipRobustError, DataError, ModelError
from pytest_clip_robust.models.protocols import EncodesDensely, LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import one_line

SMALLEST_SIDE = 32
"""In pixels; a smaller picture has no parts that an image tower could distinguish."""

ACCELERATOR_BATCH, CPU_BATCH = 16, 1


def require_dense(model: LoadedModel) -> EncodesDensely:
    """Return the encoder of `model` if it has dense features.

    Raises:
        ModelError: it has no dense features.
    """
    if isinstance(model.encoder, EncodesDensely):
        return model.encoder
    raise ModelError(
        f"model {model.spec.label}: its {type(model.encoder).__name__} has no encode_dense(pixels), which returns "
        "features of an image's parts: add it (docs/models.md), or leave correspondence out"
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

    The grid of features covers each image evenly. If memory runs out, the batch is halved.

    samples: names of the images, for messages. batch_size: by default 16 on an accelerator and 1 on a CPU.

    Raises:
        DataError: an image has fewer than 32 pixels per side.
        ModelError: the model has no dense features, it fails, or its features are unusable.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"images: {images.dtype} of shape {images.shape}; expected uint8 of (B, H, W, 3)")
    names = list(samples) or [f"image {position}" for position in range(len(images))]
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST_SIDE:
        raise DataError(
            f"{names[0]!r} has {width}x{height} pixels; dense features need at least {SMALLEST_SIDE} per side"
        )
    encoder, name = require_dense(model), f"model {model.spec.label}: encode_dense"
    grid: tuple[int, ...] = ()

    def rows(batch: NDArray[np.uint8]) -> torch.Tensor:
        """Return (B, D * h * w) features, since a BatchEncoder checks rows."""
        nonlocal grid
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 255
        features = _call(encoder, pixels, name)
        if features.ndim != 4 or not features.numel() or (grid and features.shape[1:] != grid):
            expected = f"({len(batch)}, {', '.join(map(str, grid)) or 'D, h, w'})"
            raise ModelError(f"{name} returned shape {tuple(features.shape)}; expected {expected}")
        grid = tuple(features.shape[1:])
        return features.flatten(1)

    encode = BatchEncoder(rows, name=name, notice=notice)
    size = batch_size or (CPU_BATCH if model.device == "cpu" else ACCELERATOR_BATCH)
    features = [encode(images[part], names[part]) for part in row_slices(len(images), size)]
    return torch.from_numpy(np.concatenate(features)).view(-1, *grid)


def _call(encoder: EncodesDensely, pixels: torch.Tensor, name: str) -> torch.Tensor:
    try:
        return torch.as_tensor(encoder.encode_dense(pixels))
    except torch.cuda.OutOfMemoryError:
        raise
    except ClipRobustError as error:
        raise ModelError(f"{name}: {error}") from error
    except Exception as error:
        raise ModelError(f"{name} failed: {type(error).__name__}: {one_line(error)}") from error
