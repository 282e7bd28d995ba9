"""PosedRows: what every layout of posed views comes down to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.image_set import ImageReader
from pytest_clip_robust.datasets.sources import Rows
from pytest_clip_robust.datasets.view_set import DepthScale


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedRows:
    """V pictures with depth and cameras as the files have them, nothing decoded or checked.

    depth: the reader of V maps and their stamps.
    intrinsics: (V, 3, 3) in pixels of the pictures; the first pixel's centre is at (0.5, 0.5).
    poses, scenes, pairs: as in a ViewSet; pairs is None where the files list none.
    around_object: whether a square around what has depth is looked at, in place of the whole picture.
    """

    pictures: Rows
    depth: tuple[ImageReader, list[str | None]]
    depth_scale: DepthScale
    intrinsics: NDArray[np.float64]
    poses: NDArray[np.float64]
    scenes: Sequence[str]
    pairs: NDArray[np.int64] | None = None
    around_object: bool = False
