"""Fog: with distance, the light of the scene is replaced by the light that the fog scatters."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_clip_robust.corruptions.depth import quantile
from pytest_clip_robust.corruptions.light import quantise

DENSITY = (4.0, 8.0, 12.0, 16.0, 20.0)
FARTHEST = 0.5
"""Depths are scaled to [0, 0.5] before a density applies."""

NEAR, FAR = 0.01, 0.99
AIRLIGHT_SHARE = 0.001
PATCH = 7


def fog(rgb: Tensor, depth: Tensor, severity: int) -> Tensor:
    """Mix display values with the airlight: ``t J + (1 - t) A`` with ``t = exp(-density d)`` (Koschmieder 1924)."""
    near, far = quantile(depth, NEAR), quantile(depth, FAR)
    # A flat scene has a single distance, and stays as it is.
    scaled = FARTHEST * ((depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1)
    share = torch.exp(-DENSITY[severity - 1] * scaled)[:, None]
    display = rgb.float() / 255
    return quantise(display * share + airlight(rgb) * (1 - share))


def airlight(rgb: Tensor) -> Tensor:
    """Return the (B, 3, 1, 1) display value of the airlight, for each image separately.

    The dark channel prior of He et al. (2009): the darkest channel over a patch is computed for every pixel, and the
    airlight is the mean colour of the 0.1 % of pixels where it is brightest.
    """
    darkest = rgb.amin(dim=1, keepdim=True).float()
    patch = -torch.nn.functional.max_pool2d(-darkest, PATCH, stride=1, padding=PATCH // 2)
    brightest = patch >= quantile(patch[:, 0], 1 - AIRLIGHT_SHARE)[:, None]
    # Integer sums are the same in any order, on any device.
    total = (rgb * brightest).flatten(2).sum(dim=2, dtype=torch.int64)
    mean = total.float() / brightest.flatten(2).sum(dim=2).float() / 255
    return mean[..., None, None]
