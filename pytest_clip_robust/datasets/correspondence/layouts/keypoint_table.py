"""Keypoints as a table (Parquet, webdataset, hub) with the columns of the showroom's set `keypoints`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointRows, Point
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import prepared_folder
from pytest_clip_robust.datasets.sources.arrow import table_column, table_images
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

NAMES, X, Y, VISIBLE = "names", "x", "y", "visible"
INSTANCE = "instance"


def read_keypoint_table(entry: DataEntry, cache_dir: Path | None) -> KeypointRows:
    """Read columns `image`, `label`, `names`, `x`, `y`, `visible`, and `instance` if there is one.

    An object's box is the extent of all its keypoints, visible or not.

    Raises:
        DataError: a column is missing, or the lists of a row differ in length.
    """
    opened = open_table(entry, prepared_folder(cache_dir))
    table = opened.table
    label = entry.label or "label"
    for column in (label, NAMES, X, Y, VISIBLE):
        if column not in table.features:
            raise DataError(
                f"data set {entry.name!r}: no column {column!r}; it has {', '.join(table.features)}; "
                "keypoints need image, label, names, x, y and visible"
            )
    pictures = table_images(entry, opened)
    every = [
        _points(row, f"data set {entry.name!r}: image {printable(sample)!r}")
        for row, sample in zip(table.select_columns([NAMES, X, Y, VISIBLE]), pictures.samples, strict=True)
    ]
    return KeypointRows(
        pictures=replace(pictures, labels=[str(one) for one in table_column(entry, table, label)]),
        points=[{name: (x, y) for name, x, y, visible in points if visible} for points in every],
        boxes=np.array([_extent([(x, y) for _, x, y, _ in points]) for points in every]),
        instances=list(map(str, table_column(entry, table, INSTANCE)))
        if INSTANCE in table.features
        else pictures.samples,
    )


def _points(row: dict[str, Any], where: str) -> list[tuple[str, float, float, bool]]:
    columns = [row[column] for column in (NAMES, X, Y, VISIBLE)]
    lengths = [len(column) if isinstance(column, list) else 0 for column in columns]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise DataError(
            f"{where}: {', '.join(map(str, lengths))} entries in names, x, y and visible; expected the same number"
        )
    names, xs, ys, visible = columns
    if len(set(names)) < len(names):
        raise DataError(f"{where}: two keypoints have the same name")
    for name, x, y in zip(names, xs, ys, strict=True):
        if x is None or y is None or not math.isfinite(x + y):
            raise DataError(f"{where}: keypoint {printable(str(name))!r} has no position: x={_short(x)}, y={_short(y)}")
    return list(zip(names, xs, ys, visible, strict=True))


def _short(number: float | None) -> str:
    return "None" if number is None else f"{number:g}"


def _extent(points: list[Point]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
