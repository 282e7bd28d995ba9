"""Dense features: what the last block of an image tower says of every part of an image, before anything is pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.trunks import Size, trunk_of

PYRAMID_CELL = 16
"""Pixels of a cell to which the last stage of a convolutional tower is resized, as Probe3D does."""


def dense_encoder(tower: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Make the `encode_dense` of an image tower of open_clip, timm or transformers (CLIP, SigLIP and SigLIP 2).

    What it returns turns (B, 3, H, W) RGB in [0, 1] of any size into (B, D, h, w) float32 features on the tower's
    device, normalising with the `mean` and `std` that the tower was trained with. They are the output of the last
    block, before final normalisation, pooling and projection:

    - transformers: the patch tokens, a cell a patch; class and register tokens are dropped, position embeddings
      interpolated to the grid as the tower's library does it.
    - convolutional and other towers with stages: the last stage, resized to cells of 16 pixels (bilinear).

    Where H or W is no multiple of a cell, the image is resized to the nearest one (bicubic), and where a tower takes
    only one size, to that one: nothing is padded or cut off.

    Raises:
        ModelError: the tower has no map of features.
    """
    trunk = trunk_of(tower)
    weight = next(tower.parameters())

    def encode_dense(pixels: Tensor) -> Tensor:
        if tower.training:
            raise ModelError(f"image tower {type(tower).__name__} is in training mode: call its .eval()")
        size = (pixels.shape[2], pixels.shape[3])
        placed = _resized(pixels.to(weight.device, non_blocking=True), trunk.fixed or _nearest(size, trunk.cell))
        normalised = (placed - _channels(mean, placed)) / _channels(std, placed)
        features = trunk.last_block(normalised.to(weight.dtype)).float()
        if features.ndim != 4:
            raise ModelError(
                f"image tower {type(tower).__name__} has no map of features: its last block gives shape "
                f"{tuple(features.shape)}; expected (B, D, h, w)"
            )
        if trunk.pyramid:
            grid = [side // PYRAMID_CELL for side in _nearest(size, (PYRAMID_CELL, PYRAMID_CELL))]
            features = nn.functional.interpolate(features, grid, mode="bilinear", antialias=True)
        return features

    return encode_dense


def _nearest(size: Size, cell: Size) -> Size:
    """Return the multiples of `cell` nearest to `size`, not 0."""
    height, width = (max(1, int(side / step + 0.5)) * step for side, step in zip(size, cell, strict=True))
    return height, width


def _resized(pixels: Tensor, size: Size) -> Tensor:
    if pixels.shape[2:] == size:
        return pixels
    return nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
