"""Motion blur: the average of views of an RGB-D image from along the camera's path during the exposure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pytest_clip_robust.corruptions.depth import quantile, with_edges
from pytest_clip_robust.corruptions.focus import scale_of
from pytest_clip_robust.corruptions.light import to_codes, to_linear
from pytest_clip_robust.corruptions.sizes import REFERENCE_SIDE

XY_LENGTH = (6.0, 10.0, 15.0, 20.0, 26.0)
"""Pixels that a point at the median depth moves, by severity, in an image with a shorter side of 224 pixels."""

Z_LENGTH = (0.05, 0.08, 0.11, 0.15, 0.2)
"""Distance that the camera moves forward, over the median depth, by severity."""

FASTEST = 2.0
"""Points nearer than half the median depth move as if they were at half; they would leave the picture otherwise."""

STEP = 1.0
"""Pixels that the fastest points move between two views, unless this would take too many views."""

FEWEST_VIEWS, MOST_VIEWS = 5, 15
"""Limits at the reference size; smaller images can have more views in the same time."""

INDEX_BITS = 24
CLOSENESS_LEVELS = 2**30
SAME_SURFACE = round(0.02 * CLOSENESS_LEVELS) << INDEX_BITS
"""Least difference in closeness, relative to the nearest point, between two surfaces; in units of a point's code."""


def xy_motion_blur(rgb: Tensor, depth: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Move the camera sideways, in a random direction for each image; near objects are blurred most."""
    closeness = _closeness(depth)
    angles = [rng.uniform(0, math.pi) for rng in rngs]
    length = XY_LENGTH[severity - 1] * scale_of(rgb)
    # Computed by the standard library, so that the direction is the same on every device.
    path = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles], device=rgb.device)
    along_x, along_y = (length * path)[..., None, None].unbind(dim=1)
    sideways = path[:, 0].abs() >= path[:, 1].abs()
    light = _Views(rgb, closeness)
    for time in torch.linspace(-0.5, 0.5, _count(length * FASTEST, depth)).tolist():
        light.add(time * along_x * closeness, time * along_y * closeness, sideways=sideways)
    return to_codes(light.average())


def z_motion_blur(rgb: Tensor, depth: Tensor, intrinsics: Tensor, severity: int) -> Tensor:
    """Move the camera forward: the picture expands from the principal point, near objects fastest."""
    closeness = _closeness(depth)
    height, width = depth.shape[-2:]
    from_x = torch.arange(width, device=rgb.device) + 0.5 - intrinsics[:, 0, 2, None, None]
    from_y = torch.arange(height, device=rgb.device)[:, None] + 0.5 - intrinsics[:, 1, 2, None, None]
    way = Z_LENGTH[severity - 1]
    fastest = max(height, width) / 2 * way * FASTEST / (1 - way * FASTEST)
    light = _Views(rgb, closeness)
    sideways = torch.ones(len(rgb), dtype=torch.bool, device=rgb.device)
    for time in torch.linspace(0, 1, _count(fastest, depth)).tolist():
        grown = 1 / (1 - time * way * closeness) - 1
        light.add(from_x * grown, from_y * grown, sideways=sideways)
    return to_codes(light.average())


def _closeness(depth: Tensor) -> Tensor:
    """Return the median depth over the depth, to which a point's speed in the picture is proportional."""
    return (quantile(depth, 0.5) / with_edges(depth)).clamp(max=FASTEST)


def _count(fastest: float, depth: Tensor) -> int:
    """Return the number of views to average, an odd number."""
    most = max(MOST_VIEWS, round(MOST_VIEWS * REFERENCE_SIDE**2 / (depth.shape[-1] * depth.shape[-2])))
    return min(max(math.ceil(fastest / STEP), FEWEST_VIEWS), most) | 1


class _Views:
    """Sum of views of (B, 3, H, W) `rgb`, whose points have the (B, H, W) `closeness`.

    Each point is drawn at the nearest pixel; of several points at one pixel, the one nearest to the camera is visible.
    A point is coded as one integer, with its closeness in the high bits and its index in the low bits, so that the
    largest code wins on every device.
    """

    def __init__(self, rgb: Tensor, closeness: Tensor) -> None:
        self._light = to_linear(rgb).flatten(2)
        self._shape = batch, height, width = closeness.shape
        pixels = torch.arange(height * width, device=rgb.device).view(height, width)
        scaled = closeness / closeness.flatten(1).amax(dim=1)[:, None, None]
        self._points = (((scaled * CLOSENESS_LEVELS).round().long() << INDEX_BITS) | pixels).flatten()
        # A margin of one pixel collects the points that leave the picture.
        self._column = torch.arange(width, device=rgb.device, dtype=torch.float32) + 1
        self._row = torch.arange(height, device=rgb.device, dtype=torch.float32)[:, None] + 1
        self._first = torch.arange(batch, device=rgb.device)[:, None, None] * ((height + 2) * (width + 2))
        self._sum = torch.zeros_like(self._light)
        self._count = 0

    def add(self, x: Tensor, y: Tensor, *, sideways: Tensor) -> None:
        """Add the view in which every point is moved by (x, y) pixels, each (B, H, W).

        sideways: (B,) whether the holes of an image are filled along rows first, or along columns.
        """
        batch, height, width = self._shape
        column = (self._column + x).round_().clamp_(0, width + 1)
        row = (self._row + y).round_().clamp_(0, height + 1)
        place = row.mul_(width + 2).add_(column).long().add_(self._first)
        seen = torch.full((batch * (height + 2) * (width + 2),), -1, device=x.device)
        seen.scatter_reduce_(0, place.flatten(), self._points, "amax")
        seen = seen.view(batch, height + 2, width + 2)[:, 1:-1, 1:-1]
        seen = _fill(_close_cracks(seen), sideways)
        source = (seen & ((1 << INDEX_BITS) - 1)).flatten(1)
        self._sum += self._light.gather(2, source[:, None].expand(-1, 3, -1))
        self._count += 1

    def average(self) -> Tensor:
        """Return the (B, 3, H, W) mean light of the views."""
        _, height, width = self._shape
        return (self._sum / self._count).view(-1, 3, height, width)


def _close_cracks(seen: Tensor) -> Tensor:
    """Close one-pixel gaps in a stretched surface, through which a farther surface is visible.

    A point that is farther than both of its neighbours by more than SAME_SURFACE is replaced by the farther of them.
    """
    for dim in (2, 1):
        size = seen.shape[dim]
        before, after = seen.narrow(dim, 0, size - 2), seen.narrow(dim, 2, size - 2)
        closed = seen.clone()
        here = closed.narrow(dim, 1, size - 2)
        torch.maximum(here, torch.minimum(before, after).sub_(SAME_SURFACE), out=here)
        seen = closed
    return seen


def _fill(seen: Tensor, sideways: Tensor) -> Tensor:
    """Fill pixels without a point, uncovered background and picture edges, from the farther side of the hole."""
    seen = _fill_rows(seen, sideways)
    if bool((seen >= 0).all()):
        return seen
    # Then along columns for all images, and along rows for the holes that are left.
    everywhere = torch.ones_like(sideways)
    seen = _fill_rows(seen.mT.contiguous(), everywhere).mT.contiguous()
    return _fill_rows(seen, everywhere)


def _fill_rows(seen: Tensor, chosen: Tensor) -> Tensor:
    """Fill each run of holes in the rows of the images selected by (B,) `chosen` from the farther of its two ends."""
    width = seen.shape[-1]
    flat = seen.flatten()
    holes = ((seen < 0) & chosen[:, None, None]).flatten().nonzero()[:, 0]
    if not len(holes):
        return seen
    fresh = torch.ones(len(holes) + 1, dtype=torch.bool, device=seen.device)
    fresh[1:-1] = (holes[1:] != holes[:-1] + 1) | (holes[1:] % width == 0)
    first, last = holes[fresh[:-1]], holes[fresh[1:]]
    before = torch.where(first % width > 0, flat[first - 1], -1)
    after = torch.where((last + 1) % width > 0, flat[(last + 1).clamp(max=len(flat) - 1)], -1)
    farther = torch.where((before >= 0) & (after >= 0), torch.minimum(before, after), torch.maximum(before, after))
    filled = flat.clone()
    filled[holes] = farther[fresh[:-1].cumsum(dim=0) - 1]
    return filled.view(seen.shape)
