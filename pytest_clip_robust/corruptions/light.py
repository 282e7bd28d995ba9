"""Conversion between sRGB values, as in files, and linear light, as optics and sensors add it (IEC 61966-2-1)."""

from __future__ import annotations

import torch
from torch import Tensor

_CODES = torch.arange(256, dtype=torch.float64) / 255
_LINEAR = torch.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).float()


def to_linear(rgb: Tensor) -> Tensor:
    """Convert uint8 sRGB values of any shape to float32 linear light in [0, 1]."""
    return _LINEAR.to(rgb.device)[rgb.long()]


def to_codes(linear: Tensor) -> Tensor:
    """Convert linear light to uint8 sRGB values; light brighter than 1 is clipped, as in a sensor."""
    light = linear.clamp(0, 1)
    return quantise(torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))


def quantise(display: Tensor) -> Tensor:
    """Convert display values in [0, 1] to uint8."""
    return (display.clamp(0, 1) * 255).round().to(torch.uint8)
