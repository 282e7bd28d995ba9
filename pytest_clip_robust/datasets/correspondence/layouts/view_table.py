"""Posed views as a table: Parquet, webdataset or a set on the hub with the columns of the showroom's `views`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pytest_clip_robust.datasets.correspondence.poses import as_pose, inverse
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.reading import (
    INTRINSICS,
    open_table,
    table_column,
    table_depth,
    table_images,
    table_intrinsics,
)
from pytest_clip_robust.errors import DataError

MILLIMETRE = 0.001
POSE = "pose"
SCENE = "scene"


def read_view_table(entry: DataEntry, cache_dir: Path | None) -> PosedRows:
    """Read columns `image`, `depth` (millimetres), `intrinsics` (9 numbers), `pose` (16, world to camera) and `scene`.

    A column of labels, where there is one, becomes part of the scenes' names.

    Raises:
        DataError: a column is not there, or holds something else.
    """
    found = open_table(entry, None if cache_dir is None else str(cache_dir / "prepared"))
    depth, intrinsics = table_depth(entry, found), table_intrinsics(entry, found)
    if depth is None or intrinsics is None:
        raise _no_column(entry, found, entry.depth or "depth" if depth is None else INTRINSICS)
    for column in (POSE, SCENE):
        if column not in found.features:
            raise _no_column(entry, found, column)
    pictures = table_images(entry, found)
    poses = [
        as_pose(value, f"data set {entry.name!r}: view {sample!r}")
        for value, sample in zip(found[POSE], pictures.samples, strict=True)
    ]
    scenes = [str(scene) for scene in table_column(entry, found, SCENE)]
    label = entry.label or "label"
    if label in found.features:
        scenes = [f"{one} {scene}" for one, scene in zip(table_column(entry, found, label), scenes, strict=True)]
    return PosedRows(
        pictures=pictures,
        depth=depth,
        depth_scale=DepthScale(scale=np.full(len(found), MILLIMETRE)),
        intrinsics=intrinsics.astype(np.float64),
        poses=inverse(np.array(poses)),
        scenes=scenes,
    )


def _no_column(entry: DataEntry, found: Any, column: str) -> DataError:
    return DataError(
        f"data set {entry.name!r}: no column {column!r}; it has {', '.join(found.features)}; "
        "posed views need image, depth, intrinsics, pose and scene"
    )
