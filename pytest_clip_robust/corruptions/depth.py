"""Completion of depth maps from sensors, renderers and models: every pixel gets a finite positive depth."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_clip_robust.errors import DataError

LEAST_KNOWN = 0.1
"""Least share of pixels with known depth; with fewer, most of the geometry would be guessed."""

INFINITY = 2.0
"""Infinite depth becomes this multiple of the farthest known depth: clearly farther, but not too far for the rest."""


def complete_depth(depth: Tensor) -> Tensor:
    """Return (B, H, W) depth along the optical axis, in any unit, with unknown values filled.

    Zeros, negative numbers and NaN are holes. A hole gets the farther of its neighbours in the row, or else in the
    column, because most holes of a sensor are parts of the background behind something nearer. Infinity, such as the
    sky, becomes twice the farthest known depth.

    Raises:
        DataError: less than a tenth of a map is known.
    """
    depth = depth.float()
    known = torch.isfinite(depth) & (depth > 0)
    share = known.flatten(1).float().mean(dim=1)
    if (share < LEAST_KNOWN).any():
        raise DataError(
            f"depth is known for {float(share.min()):.1%} of the pixels; expected at least {LEAST_KNOWN:.0%}: "
            "give another depth column, or a depth model in the profile's corruptions.depth"
        )
    if known.all():
        return depth
    farthest = torch.where(known, depth, 0).flatten(1).amax(dim=1)[:, None, None]
    depth = torch.where(torch.isposinf(depth), INFINITY * farthest, torch.where(known, depth, 0))
    return _fill_rows(_fill_rows(depth).mT).mT


def with_edges(depth: Tensor) -> Tensor:
    """Return the nearest depth among each pixel and its eight neighbours.

    Pixels at the edge of an object mix the colours of both sides. They have to move with the object, or its outline
    would remain visible on the background.
    """
    return -torch.nn.functional.max_pool2d(-depth[:, None], 3, stride=1, padding=1)[:, 0]


def quantile(depth: Tensor, share: float) -> Tensor:
    """Return the (B, 1, 1) quantile of each depth map at `share` (0 to 1).

    It is one of the values and is not interpolated, so that it is the same on every device.
    """
    flat = depth.flatten(1)
    return flat.kthvalue(1 + round(share * (flat.shape[1] - 1)), dim=1).values[:, None, None]


def _fill_rows(depth: Tensor) -> Tensor:
    """Replace each zero by the larger of the nearest non-zero values in its row; a row of zeros stays as it is."""
    width = depth.shape[-1]
    column = torch.arange(width, device=depth.device)
    before = torch.where(depth > 0, column, 0).cummax(dim=-1).values
    after = torch.where(depth > 0, column, width - 1).flip(-1).cummin(dim=-1).values.flip(-1)
    filled = torch.maximum(depth.gather(-1, before), depth.gather(-1, after))
    return torch.where(depth > 0, depth, filled)
