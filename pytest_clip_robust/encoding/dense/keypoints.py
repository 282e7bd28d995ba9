"""Semantic correspondence: do features find the same part on another object of the class?

Keypoints of one picture are looked for in the other, among all points of the grid. With PCK@0.1, the share of keypoints
found within a tenth of the object's larger side, this is the usual protocol of SPair-71k (Min et al. 2019).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_clip_robust.encoding.dense.nearest import Points, lengths, upsample
from pytest_clip_robust.encoding.dense.resize import STRIDE, Resize


def find_points(
    source: Tensor, points: NDArray[np.floating], source_look: Resize, target: Tensor, target_look: Resize
) -> NDArray[np.float64]:
    """Return the (K, 2) places in the resized target that are most like (K, 2) `points` of the resized source.

    source, target: (D, h, w) features. Between their cells features are bicubic, as at the points of the grid.
    """
    everywhere = Points(target, target_look.grid, torch.arange(np.prod(target_look.grid).item(), device=target.device))
    queries = _at(source, points, source_look)
    cells = torch.einsum("dk,dhw->khw", queries, target)
    cosines = upsample(cells, target_look.grid).flatten(1) / lengths(everywhere)
    row, column = np.divmod(cosines.argmax(dim=1).cpu().numpy(), target_look.grid[1])
    return np.stack([column + 0.5, row + 0.5], axis=1) * STRIDE


def _at(features: Tensor, points: NDArray[np.floating], look: Resize) -> Tensor:
    """Return the (D, K) features at (K, 2) points of the resized picture, of length 1."""
    places = torch.from_numpy(2 * np.asarray(points, np.float64) / (look.width, look.height) - 1).to(features)
    found = torch.nn.functional.grid_sample(
        features[None], places[None, None], mode="bicubic", padding_mode="border", align_corners=False
    )
    return torch.nn.functional.normalize(found[0, :, 0], dim=0)
