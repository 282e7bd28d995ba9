"""Nearest neighbours between the points of two pictures, by the cosine of features that are coarser than the points.

Features are upsampled (bicubic) to the points and compared by cosine. Upsampling is linear, so that dot products of
upsampled features are upsampled dot products of cells. With 1,000 cells and 16,000 points this takes a twentieth of the
arithmetic, and the results are equal except for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from pytest_clip_robust.core.arrays import row_slices

COSINES_AT_A_TIME = 2**20
"""Cosines in memory at once, 4 MB; a constant, so that results never depend on the available memory."""

LEAST_LENGTH = 1e-12
EXCLUDED = -4.0
"""Added to the cosines of points that do not take part, so that every other point is nearer."""


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The dense features of one picture, and the grid of points at which they are compared.

    features: (D, h, w), of any length, covering the picture evenly. size: rows and columns of the grid, at least h and
    w.
    """

    features: Tensor
    size: tuple[int, int]

    @cached_property
    def lengths(self) -> Tensor:
        """The (H * W,) lengths of the upsampled features; computed once, for all pairs with this picture."""
        found: Tensor = torch.linalg.vector_norm(upsample(self.features, self.size).flatten(1), dim=0)
        return found.clamp(min=LEAST_LENGTH)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a picture that take part; kept: (N,) int64 positions in its grid, row by row and ascending."""

    picture: FeatureMap
    kept: Tensor


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest and second nearest point of another picture, for each of N points.

    index: (N,) int64, position of the nearest among the other picture's kept points. first, second: (N,) cosine
    distances of the nearest and second nearest, 0 to 2.
    """

    index: Tensor
    first: Tensor
    second: Tensor

    @property
    def weight(self) -> Tensor:
        """Return Lowe's ratio test 1 - first / second, (N,), from 0 (equally near) to 1 (the most distinctive)."""
        return 1 - self.first.clamp(min=1e-9) / self.second.clamp(min=1e-9)


def two_nearest(source: Points, target: Points) -> Neighbours:
    """Return the two points of `target`, which has at least two, that are most similar to each point of `source`."""
    of, to = source.picture, target.picture
    cells = torch.einsum("dk,dm->mk", of.features.flatten(1), to.features.flatten(1))
    rows = upsample(cells.view(-1, *of.features.shape[1:]), of.size).flatten(1).index_select(1, source.kept)
    rows = (rows / of.lengths[source.kept]).T.contiguous()
    grid_points = to.size[0] * to.size[1]
    # Excluded points are penalised, because removing them would copy all the others.
    scale = rows.new_zeros(grid_points).index_copy(0, target.kept, 1 / to.lengths[target.kept])
    penalty = rows.new_full((grid_points,), EXCLUDED).index_fill(0, target.kept, 0.0)
    found = []
    for part in row_slices(len(rows), max(1, COSINES_AT_A_TIME // grid_points)):
        products = rows[part].view(-1, *to.features.shape[1:])
        cosines = upsample(products, to.size).flatten(1).mul_(scale).add_(penalty)
        nearest, place = cosines.max(dim=1)
        cosines.scatter_(1, place[:, None], EXCLUDED)
        found.append((torch.searchsorted(target.kept, place), nearest, cosines.amax(dim=1)))
    index, first, second = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(index, (1 - first).clamp(0, 2), (1 - second).clamp(0, 2))


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (M, h, w) `maps` to (M, H, W) as bicubic ``torch.nn.functional.interpolate`` does."""
    down = _weights(maps.shape[1], size[0]).to(maps)
    across = _weights(maps.shape[2], size[1]).to(maps)
    return down @ (maps @ across.T)


@cache
def _weights(coarse: int, fine: int) -> Tensor:
    """Return the (fine, coarse) weights of cubic interpolation along one axis, with edges repeated."""
    axis = torch.eye(coarse, dtype=torch.float64)[None, None]
    weights: Tensor = torch.nn.functional.interpolate(axis, size=(fine, coarse), mode="bicubic", align_corners=False)
    return weights[0, 0]
