"""Defocus: a thin lens of some aperture, focused on what is nearest or farthest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytest_clip_robust.corruptions.depth import quantile, with_edges
from pytest_clip_robust.corruptions.light import to_codes, to_linear

REFERENCE_SIDE = 224
"""Lengths are pixels of an image whose shorter side has this many; on others they scale with that side."""

NEAREST, FARTHEST = 0.05, 0.95
"""Quantiles of depth that are focused on: the very nearest pixels are noise, or a corner of a table."""

LAYER_STEP = 1.5
"""Pixels of radius from one layer to the next; between them the layers are mixed."""

FAINT = 0.05
FARTHER = 12.0


def scale_of(image: Tensor) -> float:
    """Return how many pixels of `image` (..., H, W) make one of the reference side."""
    return min(image.shape[-2:]) / REFERENCE_SIDE


def near_focus(rgb: Tensor, depth: Tensor, severity: int) -> Tensor:
    """Focus on what is nearest: the background blurs."""
    return _defocus(rgb, depth, aperture=(severity + 2) * scale_of(rgb), focus=NEAREST)


def far_focus(rgb: Tensor, depth: Tensor, severity: int) -> Tensor:
    """Focus on what is farthest: the foreground blurs."""
    return _defocus(rgb, depth, aperture=(severity + 2) * scale_of(rgb), focus=FARTHEST)


def blur_radius(depth: Tensor, *, aperture: float, focus: float) -> Tensor:
    """Return the (B, H, W) radius of the circle of confusion, in pixels from 0 to `aperture`.

    ``aperture * nearest * |1 / depth - 1 / focused|``: a thin lens, its aperture in units that do not depend on the
    depth's. Only the ratio of depths counts, and a flat scene stays sharp.
    """
    nearest = quantile(depth, NEAREST)
    limits = (nearest / quantile(depth, FARTHEST), torch.ones_like(nearest))
    closeness = (nearest / depth).clamp(*limits)
    return aperture * (closeness - (limits[1] if focus == NEAREST else limits[0])).abs()


def _defocus(rgb: Tensor, depth: Tensor, *, aperture: float, focus: float) -> Tensor:
    """Blur layer by layer from the back, so that a sharp edge neither bleeds out nor lets the background in.

    Layer i blurs by one radius. Its colours are averaged over its own pixels alone, and it goes on behind all that is
    nearer, so that what lies in front decides by its own blur how much of it shows. Where a layer has no pixels to
    average, beneath a nearer one, the surrounding background takes their place.
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
    """Average the neighbourhood of each pixel, what is farther by far the most."""
    nearest = quantile(depth, NEAREST)
    weight = torch.exp(-FARTHER * (nearest / depth).clamp(max=1))[:, None]
    blurred = disk_blur(torch.cat([light * weight, weight], dim=1), radius)
    return blurred[:, :3] / blurred[:, 3:]


def disk_blur(planes: Tensor, radius: float) -> Tensor:
    """Average (B, C, H, W) planes over a disk of `radius` pixels with soft edges; borders are continued.

    Row by row of the disk from running sums, in a fixed order: linear in the radius, and one image's result does not
    depend on the batch.
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
