"""Sensor noise and quantisation: few photons, read noise, and few bits per channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pytest_clip_robust.corruptions.light import quantise, to_codes, to_linear

ISO_PHOTONS = (16.0, 13.0, 9.0, 6.0, 3.5)
"""Photons that a white pixel collects, by severity: fewer with a shorter exposure and a higher ISO setting."""

LOW_LIGHT_PHOTONS = 250.0
"""Photons of a white pixel in ordinary light; a dark scene yields a fraction of them."""

READ_NOISE = 0.6
"""Standard deviation of the read noise of a pixel, in photons."""

GAIN = (0.6, 0.5, 0.4, 0.3, 0.2)
BITS = (5, 4, 3, 2, 1)


def iso_noise(rgb: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Add the noise of a short exposure that is amplified: Poisson noise of photons and Gaussian read noise."""
    return to_codes(_expose(to_linear(rgb), ISO_PHOTONS[severity - 1], rngs))


def low_light(rgb: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Darken the display values, then add the sensor's noise."""
    dark = quantise(rgb.float() / 255 * GAIN[severity - 1])
    return to_codes(_expose(to_linear(dark), LOW_LIGHT_PHOTONS, rngs))


def color_quant(rgb: Tensor, severity: int) -> Tensor:
    """Quantise to 5, 4, 3, 2 or 1 bits per channel; the levels span the whole range."""
    top = 2 ** BITS[severity - 1] - 1
    return quantise((rgb.float() / 255 * top).round() / top)


def _expose(light: Tensor, photons: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Draw photon counts image by image on the CPU, so that they do not depend on device and batch."""
    counted = []
    for one, rng in zip(light.cpu().numpy() * photons, rngs, strict=True):
        read = rng.standard_normal(one.shape, dtype=np.float32) * np.float32(READ_NOISE)
        counted.append(torch.from_numpy(rng.poisson(one).astype(np.float32) + read))
    return torch.stack(counted).to(light.device) / photons
