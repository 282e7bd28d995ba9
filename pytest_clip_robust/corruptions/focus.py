"""Defocus blur of a thin lens that is focused on the nearest or the farthest part of the scene."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytest_clip_robust.corruptions.depth import quantile, with_edges
from pytest_clip_robust.corruptions.light import to_codes, to_linear
from pytest_clip_robust.corruptions.sizes import REFERENCE_SIDE

NEAREST, FARTHEST = 0.05, 0.95
"""Quantiles of depth to focus on; the very nearest pixels are often noise or the corner of a table."""

LAYER_STEP = 1.5
"""Difference in blur radius between two layers, in pixels; layers are interpolated in between."""

FAINT = 0.05
FARTHER = 12.0


def scale_of(image: Tensor) -> float:
    """Return the shorter side of `image` (..., H, W) over the reference side."""
    return min(image.shape[-2:]) / REFERENCE_SIDE


def near_focus(rgb: Tensor, depth: Tensor, severity: int) -> Tensor:
    """Focus on the nearest part, so that the background is blurred."""
    return _defocus(rgb, depth, aperture=(severity + 2) * scale_of(rgb), focus=NEAREST)


def far_focus(rgb: Tensor, depth: Tensor, severity: int) -> Tensor:
    """Focus on the farthest part, so that the foreground is blurred."""
    return _defocus(rgb, depth, aperture=(severity + 2) * scale_of(rgb), focus=FARTHEST)


def blur_radius(depth: Tensor, *, aperture: float, focus: float) -> Tensor:
    """Return the (B, H, W) radius of the circle of confusion, in pixels from 0 to `aperture`.

    The thin-lens formula ``aperture * nearest * |1 / depth - 1 / focused|``, with an aperture that does not depend on
    the unit of depth. Only ratios of depths matter, and a flat scene stays sharp.
    """
    nearest = quantile(depth, NEAREST)
    limits = (nearest / quantile(depth, FARTHEST), torch.ones_like(nearest))
    closeness = (nearest / depth).clamp(*limits)
    return aperture * (closeness - (limits[1] if focus == NEAREST else limits[0])).abs()


def _defocus(rgb: Tensor, depth: Tensor, *, aperture: float, focus: float) -> Tensor:
    """Blur layer by layer, from back to front, so that colours do not bleed across sharp edges in either direction.

    Each layer is blurred with one radius, and its colours are averaged over its own pixels only. A layer continues
    behind everything nearer, and the blur of the nearer layers decides how much of it is visible. Where a layer is
    hidden and has no pixels to average, the surrounding background takes their place.
    """
    steps = math.ceil(aperture / LAYER_STEP)
    light, depth = to_linear(rgb), with_edges(depth)
    level = blur_radius(depth, aperture=aperture, focus=focus)[:, None] * (steps / aperture)
    found = _background(light, depth, radius=aperture)
    farther_blurs_more = focus == NEAREST
    for layer in range(steps, -1, -1) if farther_blurs_more else range(steps + 1):
        own = (1 - (level - layer).abs()).clamp(min=0)
        if not own.any():
            continue
        nearer = ((layer - level if farther_blurs_more else level - layer) + 1).clamp(0, 1)
        blurred = disk_blur(torch.cat([light * own, own, nearer], dim=1), aperture * layer / steps)
        colour, weight, cover = blurred[:, :3], blurred[:, 3:4], blurred[:, 4:]
        shown = cover * (weight / FAINT).clamp(max=1)
        found = torch.lerp(found, colour / weight.clamp(min=1e-6), shown)
    return to_codes(found)


def _background(light: Tensor, depth: Tensor, *, radius: float) -> Tensor:
    """Average the neighbourhood of each pixel, with much larger weights for farther pixels."""
    nearest = quantile(depth, NEAREST)
    weight = torch.exp(-FARTHER * (nearest / depth).clamp(max=1))[:, None]
    blurred = disk_blur(torch.cat([light * weight, weight], dim=1), radius)
    return blurred[:, :3] / blurred[:, 3:]


def disk_blur(planes: Tensor, radius: float) -> Tensor:
    """Average (B, C, H, W) planes over a disk of `radius` pixels with soft edges; border pixels are repeated.

    Each row of the disk is taken from running sums, in a fixed order. So the time is linear in the radius, and the
    result for an image does not depend on the batch.
    """
    reach = math.ceil(radius)
    if reach == 0:
        return planes
    height, width = planes.shape[-2:]
    padded = torch.nn.functional.pad(planes, (reach + 1,) * 2 + (reach,) * 2, mode="replicate")
    sums = torch.nn.functional.pad(padded.cumsum(dim=-1), (1, 0))
    total = torch.zeros_like(planes)
    weight = 0.0
    for row in range(reach + 1):
        half = math.sqrt(max((radius + 0.5) ** 2 - row**2, 0)) - 0.5
        if half < 0:
            continue
        whole = math.floor(half)
        part = half - whole
        left, right = reach + 1 - whole, reach + 2 + whole
        line = sums[..., right : right + width] - sums[..., left : left + width]
        line = line + part * (padded[..., left - 1 : left - 1 + width] + padded[..., right : right + width])
        for shift in {row, -row}:
            total += line[..., reach + shift : reach + shift + height, :]
            weight += 2 * half + 1
    return total / weight
