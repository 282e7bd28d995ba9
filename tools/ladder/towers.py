"""Control models for correspondence: a tower with random weights, and raw colours without a tower.

    pytest suites/test_correspondence.py --model showroom-clip --model py:tools/ladder/towers.py:random_tower \
        --model py:tools/ladder/towers.py:raw_colour

A model that does not score higher than these has learnt nothing about the parts of objects. Only the dense features
differ; everything else is taken from showroom-clip.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

CELL = 16
SEED = 0


class WithoutDense:
    """All of showroom-clip except its dense features; subclasses define `encode_dense`."""

    def __init__(self, device: str, identity: str) -> None:
        self._model = load_model(ModelSpec.parse("showroom-clip"), device=device, precision="fp32").encoder
        self.identity = f"{identity} of {self._model.identity}"

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of showroom-clip."""
        return getattr(self._model, name)


class RawColour(WithoutDense):
    """The mean colour of each 16 x 16 patch, relative to mid-grey."""

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the (B, 3, H / 16, W / 16) colours of (B, 3, H, W) pixels."""
        return torch.nn.functional.adaptive_avg_pool2d(pixels - 0.5, (pixels.shape[2] // CELL, pixels.shape[3] // CELL))


class RandomTower(WithoutDense):
    """The untrained image tower: newly drawn convolution weights, normalisation layers reset to the identity."""

    def __init__(self, device: str) -> None:
        super().__init__(device, f"random tower, seed {SEED},")
        self._untrained = copy.deepcopy(self._model)
        torch.manual_seed(SEED)
        for module in self._untrained._clip.visual.modules():  # noqa: SLF001 - the tower is not public
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif hasattr(module, "reset_running_stats"):
                module.reset_parameters()

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the (B, D, h, w) features of (B, 3, H, W) pixels."""
        return self._untrained.encode_dense(pixels)


def raw_colour(device: str) -> RawColour:
    """Return the model with raw colours as dense features."""
    return RawColour(device, "raw colour")


def random_tower(device: str) -> RandomTower:
    """Return the model with randomly initialised dense features."""
    return RandomTower(device)
