"""A simple scene with known results: a near red disc in front of a far wall."""

from __future__ import annotations

import pytest
import torch

NEAR, FAR = 1.0, 4.0


def disc(size, *, radius=None):
    """Return the mask of a disc in the middle of a square image."""
    along = torch.arange(size) - (size - 1) / 2
    return along[:, None] ** 2 + along**2 < (radius or size / 4) ** 2


def scene_of(size=64, *, batch=1, seed=0, wall=None):
    """Return (B, 3, H, W) images and their depth: a red disc at 1 and a wall, green or with random texture, at 4."""
    inside = disc(size)
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randint(40, 216, (batch, 3, size, size), dtype=torch.uint8, generator=generator)
    if wall is not None:
        rgb[:] = torch.tensor(wall, dtype=torch.uint8)[:, None, None]
    rgb[:, :, inside] = torch.tensor([220, 20, 20], dtype=torch.uint8)[:, None]
    depth = torch.where(inside, NEAR, FAR).expand(batch, size, size).clone()
    return rgb, depth


@pytest.fixture
def scene():
    return scene_of


@pytest.fixture
def inside():
    return disc
