"""KeypointRows: what every layout of keypoints comes down to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.sources import Rows

Point = tuple[float, float]
"""x and y in pixels of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointRows:
    """V pictures of objects as the files have them, nothing decoded or checked.

    pictures: their labels are the names of the objects' classes.
    points: of every picture, the keypoints that are seen, by a name that means the same in all pictures of a class.
    boxes: (V, 4) left, top, right and bottom of the object.
    instances: V names of objects; a name of its own where nothing says which pictures show the same one.
    pairs: (P, 2) positions, and viewpoints: (P,), as in a KeypointSet; None where the files list none.
    """

    pictures: Rows
    points: Sequence[Mapping[str, Point]]
    boxes: NDArray[np.float64]
    instances: Sequence[str]
    pairs: NDArray[np.int64] | None = None
    viewpoints: NDArray[np.int64] | None = None
