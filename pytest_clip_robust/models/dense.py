"""Dense features: the output of an image tower's last block for every patch of an image, before pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.trunks import Size, trunk_of

PYRAMID_CELL = 16
"""Side in pixels of the cells to which a convolutional tower's last stage is resized, as in Probe3D."""


def dense_encoder(tower: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Return the `encode_dense` of an image tower of open_clip, timm or transformers (CLIP, SigLIP, SigLIP 2, ALIGN).

    The returned function turns (B, 3, H, W) RGB in [0, 1] of any size into (B, D, h, w) float32 features on the
    tower's device. It normalises with `mean` and `std`, which must be those of the tower's training. The features are
    the output of the last block, before final normalisation, pooling and projection:

    - transformers: the patch tokens, one cell per patch. Class and register tokens are dropped; position embeddings
      are interpolated to the grid as the tower's library does it.
    - convolutional and other towers with stages: the last stage, resized to cells of 16 pixels (bilinear).

    If H or W is not a multiple of the cell, the image is resized to the nearest multiple (bicubic). If a tower takes
    only one size, the image is resized to that size. Nothing is padded or cropped.

    Raises:
        ModelError: the tower has no feature map.
    """
    trunk = trunk_of(tower)
    weight = next(tower.parameters())

    def encode_dense(pixels: Tensor) -> Tensor:
        if tower.training:
            raise ModelError(f"image tower {type(tower).__name__} is in training mode: call its .eval()")
        size = (pixels.shape[2], pixels.shape[3])
        resized = _resized(pixels.to(weight.device, non_blocking=True), trunk.fixed or _nearest(size, trunk.cell))
        normalised = (resized - _channels(mean, resized)) / _channels(std, resized)
        features = trunk.last_block(normalised.to(weight.dtype)).float()
        if features.ndim != 4:
            raise ModelError(
                f"image tower {type(tower).__name__} has no feature map: its last block returns shape "
                f"{tuple(features.shape)}; expected (B, D, h, w)"
            )
        if trunk.pyramid:
            grid = [side // PYRAMID_CELL for side in _nearest(size, (PYRAMID_CELL, PYRAMID_CELL))]
            features = nn.functional.interpolate(features, grid, mode="bilinear", antialias=True)
        return features

    return encode_dense


def _nearest(size: Size, cell: Size) -> Size:
    """Return the positive multiples of `cell` nearest to `size`."""
    height, width = (max(1, int(side / step + 0.5)) * step for side, step in zip(size, cell, strict=True))
    return height, width


def _resized(pixels: Tensor, size: Size) -> Tensor:
    if pixels.shape[2:] == size:
        return pixels
    return nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)
