"""The rungs below a trained tower: the same tower with random weights, and no tower at all.

    pytest suites/test_correspondence.py --model showroom-clip --model py:tools/ladder/towers.py:random_tower \
        --model py:tools/ladder/towers.py:raw_colour

Whoever does not climb above them has learnt nothing about parts of things. Only dense features are theirs; what else a
model must have is showroom-clip's.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

CELL = 16
SEED = 0


class Borrowed:
    """Everything but the dense features of showroom-clip."""

    def __init__(self, device: str, identity: str) -> None:
        self._model = load_model(ModelSpec.parse("showroom-clip"), device=device, precision="fp32").encoder
        self.identity = f"{identity} of {self._model.identity}"

    def __getattr__(self, name: str) -> Any:
        """Ask showroom-clip for what is not here."""
        return getattr(self._model, name)


class RawColour(Borrowed):
    """The mean colour of 16 x 16 pixels, from middle grey."""

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels into (B, 3, H / 16, W / 16) colours."""
        return torch.nn.functional.adaptive_avg_pool2d(pixels - 0.5, (pixels.shape[2] // CELL, pixels.shape[3] // CELL))


class RandomTower(Borrowed):
    """The tower as it was before it saw a picture: convolutions drawn anew, normalisations that do nothing."""

    def __init__(self, device: str) -> None:
        super().__init__(device, f"random tower, seed {SEED},")
        self._untrained = copy.deepcopy(self._model)
        torch.manual_seed(SEED)
        for module in self._untrained._clip.visual.modules():  # noqa: SLF001 - a tower has no face of its own
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif hasattr(module, "reset_running_stats"):
                module.reset_parameters()

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels into (B, D, h, w) features."""
        return self._untrained.encode_dense(pixels)


def raw_colour(device: str) -> RawColour:
    """Build the model of raw colour."""
    return RawColour(device, "raw colour")


def random_tower(device: str) -> RandomTower:
    """Build the model of random weights."""
    return RandomTower(device)
