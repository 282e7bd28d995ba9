"""Nearest neighbours between the points of two pictures, by the cosine of features that are coarser than the points.

Features are upsampled to the points (bicubic), and compared by their cosine. Upsampling is linear, so that products of
upsampled features are upsampled products of cells: with a thousand cells against sixteen thousand points that takes a
twentieth of the arithmetic, and the numbers are the same but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

ELEMENTS_AT_A_TIME = 2**20
"""Cosines held at once, 4 MB; a constant, so that results never depend on the memory there is."""

LEAST_LENGTH = 1e-12


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one picture that take part, and its features.

    features: (D, h, w), of any length, covering the picture evenly. size: rows and columns of the point grid, each at
    least h and w. kept: (N,) int64 positions in the grid, row by row and ascending.
    """

    features: Tensor
    size: tuple[int, int]
    kept: Tensor


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each of N points the nearest and second nearest of another picture's.

    index: (N,) int64, which of the other's kept points is nearest. first, second: (N,) cosine distances, 0 to 2.
    """

    index: Tensor
    first: Tensor
    second: Tensor

    @property
    def weight(self) -> Tensor:
        """Return how much nearer the nearest is than the second, (N,) from 0 (the same) to 1: Lowe's ratio test."""
        return 1 - self.first.clamp(min=1e-9) / self.second.clamp(min=1e-9)


def two_nearest(source: Points, target: Points) -> Neighbours:
    """Find the two points of `target`, which has two or more, that are most like each of `source`."""
    cells = torch.einsum("dk,dm->mk", source.features.flatten(1), target.features.flatten(1))
    rows = upsample(cells.view(-1, *source.features.shape[1:]), source.size).flatten(1).index_select(1, source.kept)
    rows = (rows / lengths(source)).T.contiguous()
    everywhere = target.size[0] * target.size[1]
    # Points that do not take part come last; to leave them out would copy all others.
    scale = rows.new_zeros(everywhere).index_copy(0, target.kept, 1 / lengths(target))
    handicap = rows.new_full((everywhere,), -4.0).index_fill(0, target.kept, 0.0)
    step = max(1, ELEMENTS_AT_A_TIME // everywhere)
    found = []
    for start in range(0, len(rows), step):
        part = rows[start : start + step].view(-1, *target.features.shape[1:])
        cosines = upsample(part, target.size).flatten(1).mul_(scale).add_(handicap)
        nearest, place = cosines.max(dim=1)
        cosines.scatter_(1, place[:, None], -4.0)
        found.append((torch.searchsorted(target.kept, place), nearest, cosines.amax(dim=1)))
    index, first, second = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(index, (1 - first).clamp(0, 2), (1 - second).clamp(0, 2))


def lengths(points: Points) -> Tensor:
    """Return the (N,) lengths of the upsampled features at the kept points."""
    fine = upsample(points.features, points.size).flatten(1)[:, points.kept]
    found: Tensor = torch.linalg.vector_norm(fine, dim=0)
    return found.clamp(min=LEAST_LENGTH)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (M, h, w) `maps` at (M, H, W), bicubic as ``torch.nn.functional.interpolate`` has it."""
    down = _weights(maps.shape[1], size[0]).to(maps)
    across = _weights(maps.shape[2], size[1]).to(maps)
    return down @ (maps @ across.T)


@cache
def _weights(coarse: int, fine: int) -> Tensor:
    """Return the (fine, coarse) weights of cubic interpolation along one axis, edges repeated."""
    axis = torch.eye(coarse, dtype=torch.float64)[None, None]
    weights: Tensor = torch.nn.functional.interpolate(axis, size=(fine, coarse), mode="bicubic", align_corners=False)
    return weights[0, 0]
