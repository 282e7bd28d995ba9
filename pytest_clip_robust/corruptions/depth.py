"""Depth as it comes from sensors, renderers and models, made whole: every pixel a finite positive distance."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_clip_robust.errors import DataError

LEAST_KNOWN = 0.1
"""With less of the depth known than this share of the pixels, the geometry would be made up."""

INFINITY = 2.0
"""Over the farthest known depth: far enough to show, near enough to leave the rest its share of the range."""


def complete_depth(depth: Tensor) -> Tensor:
    """Fill what is unknown in (B, H, W) depth along the optical axis, in any unit.

    Zeros, negative numbers and NaN are holes. A hole takes the farther of its neighbours in the row, else in the
    column: what a sensor cannot see lies mostly in the shadow of something nearer. Infinity, a sky or an empty
    background, is twice as far as the farthest known.

    Raises:
        DataError: less than a tenth of a map is known.
    """
    depth = depth.float()
    known = torch.isfinite(depth) & (depth > 0)
    share = known.flatten(1).float().mean(dim=1)
    if (share < LEAST_KNOWN).any():
        raise DataError(
            f"depth is known for {float(share.min()):.1%} of the pixels; expected at least {LEAST_KNOWN:.0%}: "
            "name a depth model, or another column"
        )
    if known.all():
        return depth
    farthest = torch.where(known, depth, 0).flatten(1).amax(dim=1)[:, None, None]
    depth = torch.where(torch.isposinf(depth), INFINITY * farthest, torch.where(known, depth, 0))
    return _fill_rows(_fill_rows(depth).mT).mT


def with_edges(depth: Tensor) -> Tensor:
    """Give every pixel the nearest depth of its eight neighbours.

    At an edge of an object colours are mixed of both sides, and the mixture has to go with the object: left behind, it
    would draw the object's outline on the background.
    """
    return -torch.nn.functional.max_pool2d(-depth[:, None], 3, stride=1, padding=1)[:, 0]


def quantile(depth: Tensor, share: float) -> Tensor:
    """Return the (B, 1, 1) depth that `share` (0-1) of each map's pixels do not exceed: one of them, not between two.

    A selection and not an interpolation, so that it is the same number on every device.
    """
    flat = depth.flatten(1)
    return flat.kthvalue(1 + round(share * (flat.shape[1] - 1)), dim=1).values[:, None, None]


def _fill_rows(depth: Tensor) -> Tensor:
    """Give each zero the larger of the nearest non-zero values to its left and right; an empty row stays empty."""
    width = depth.shape[-1]
    column = torch.arange(width, device=depth.device)
    before = torch.where(depth > 0, column, 0).cummax(dim=-1).values
    after = torch.where(depth > 0, column, width - 1).flip(-1).cummin(dim=-1).values.flip(-1)
    filled = torch.maximum(depth.gather(-1, before), depth.gather(-1, after))
    return torch.where(depth > 0, depth, filled)
