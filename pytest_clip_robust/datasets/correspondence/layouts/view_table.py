"""Posed views as a table (Parquet, webdataset, hub) with the columns of the showroom's set `views`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pytest_clip_robust.datasets.correspondence.poses import as_pose, inverse
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import prepared_folder
from pytest_clip_robust.datasets.sources.arrow import (
    column_values,
    table_column,
    table_depth,
    table_images,
    table_intrinsics,
)
from pytest_clip_robust.datasets.sources.columns import DEPTH, INTRINSICS
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.errors import DataError

MILLIMETRE = 0.001
POSE = "pose"
SCENE = "scene"


def read_view_table(entry: DataEntry, cache_dir: Path | None) -> PosedRows:
    """Read columns `image`, `depth` (millimetres), `intrinsics` (9 numbers), `pose` (16, world to camera) and `scene`.

    A column of labels, if there is one, becomes part of the scenes' names.

    Raises:
        DataError: a column is missing, or holds other values.
    """
    opened = open_table(entry, prepared_folder(cache_dir))
    table = opened.table
    depth, intrinsics = table_depth(entry, opened), table_intrinsics(entry, table)
    if depth is None or intrinsics is None:
        raise _no_column(entry, table, entry.depth or DEPTH if depth is None else INTRINSICS)
    for column in (POSE, SCENE):
        if column not in table.features:
            raise _no_column(entry, table, column)
    pictures = table_images(entry, opened)
    poses = [
        as_pose(value, f"data set {entry.name!r}: view {sample!r}")
        for value, sample in zip(column_values(table, POSE), pictures.samples, strict=True)
    ]
    scenes = [str(scene) for scene in table_column(entry, table, SCENE)]
    label = entry.label or "label"
    if label in table.features:
        scenes = [f"{one} {scene}" for one, scene in zip(table_column(entry, table, label), scenes, strict=True)]
    return PosedRows(
        pictures=pictures,
        depth=depth,
        depth_scale=DepthScale(scale=np.full(len(table), MILLIMETRE)),
        intrinsics=intrinsics.astype(np.float64),
        poses=inverse(np.array(poses)),
        scenes=scenes,
    )


def _no_column(entry: DataEntry, table: Any, column: str) -> DataError:
    return DataError(
        f"data set {entry.name!r}: no column {column!r}; it has {', '.join(table.features)}; "
        "posed views need image, depth, intrinsics, pose and scene"
    )
