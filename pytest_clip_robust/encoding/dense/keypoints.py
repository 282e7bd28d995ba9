"""Semantic correspondence: whether features find the same part on another object of the class.

Keypoints of one picture are searched among all grid points of the other picture. With PCK@0.1, the share of keypoints
found within a tenth of the object's longer side, this is the usual protocol of SPair-71k (Min et al. 2019).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_clip_robust.encoding.dense.nearest import FeatureMap, upsample
from pytest_clip_robust.encoding.dense.resize import STRIDE, Resize


def find_points(
    source: Tensor, points: NDArray[np.floating], source_resize: Resize, target: FeatureMap
) -> NDArray[np.float64]:
    """Return the (K, 2) grid points in the resized target that are most similar to (K, 2) `points` of the source.

    source: (D, h, w) features. Features between cells are interpolated (bicubic), as at the grid points.
    points: x and y in pixels of the resized source; the result is in pixels of the resized target.
    """
    queries = _features_at(source, points, source_resize)
    cells = torch.einsum("dk,dhw->khw", queries, target.features)
    cosines = upsample(cells, target.size).flatten(1) / target.lengths
    row, column = np.divmod(cosines.argmax(dim=1).cpu().numpy(), target.size[1])
    return np.stack([column + 0.5, row + 0.5], axis=1) * STRIDE


def _features_at(features: Tensor, points: NDArray[np.floating], resize: Resize) -> Tensor:
    """Return the (D, K) features, of length 1, at (K, 2) points of the resized picture."""
    places = torch.from_numpy(2 * np.asarray(points, np.float64) / (resize.width, resize.height) - 1).to(features)
    found = torch.nn.functional.grid_sample(
        features[None], places[None, None], mode="bicubic", padding_mode="border", align_corners=False
    )
    return torch.nn.functional.normalize(found[0, :, 0], dim=0)
