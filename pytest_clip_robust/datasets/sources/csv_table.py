"""CSV tables of image files and labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.columns import (
    DEPTH,
    IMAGE_NAMES,
    factor_columns,
    find_column,
    label_column,
    texture_names,
)
from pytest_clip_robust.datasets.sources.folders import depth_files
from pytest_clip_robust.datasets.sources.rows import DepthRows, FileReader, Rows, file_rows, file_stamps
from pytest_clip_robust.errors import DataError


def csv_table(entry: DataEntry, *, labelled: bool) -> Rows:
    """Read the entry's table: one image per line, its file relative to the entry's folder.

    The standard library reads it: pandas, which `datasets` uses, would turn a label 007 into 7.

    Raises:
        DataError: the table cannot be read, lacks a column, or names a file that does not exist.
    """
    root = Path(entry.location)
    path = root / (entry.table or "labels.csv")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data set {entry.name!r}: table {path} cannot be read: {error}") from error
    image = find_column(entry, "image", entry.image, IMAGE_NAMES, columns)
    label = label_column(entry, columns, labelled=labelled)
    for number, line in enumerate(lines, start=2):
        for column in (image, label) if label else (image,):
            if not line[column]:
                raise DataError(f"data set {entry.name!r}: {path}, line {number} has no {column!r}")
        if not (root / line[image]).is_file():
            raise DataError(f"data set {entry.name!r}: {path}, line {number}: no file {root / line[image]}")
    samples = [line[image] for line in lines]
    rows = file_rows(samples, [str(root / sample) for sample in samples], origin=str(path))

    def values(column: str) -> list[str]:
        return [line[column] for line in lines]

    return replace(
        rows,
        labels=list(values(label)) if label else [entry.name] * len(rows),
        textures=texture_names(entry, columns, values),
        annotations=factor_columns(entry, columns, values),
        depth=_depth(entry, columns, lines, samples),
    )


def _depth(
    entry: DataEntry, columns: Sequence[str], lines: Sequence[Mapping[str, str]], samples: Sequence[str]
) -> DepthRows | None:
    column = entry.depth or DEPTH
    if column not in columns:
        return depth_files(entry, samples)
    paths = [str(Path(entry.location) / line[column]) for line in lines]
    missing = next((path for path in paths if not Path(path).is_file()), None)
    if missing is not None:
        raise DataError(f"data set {entry.name!r}: no depth map {missing}")
    return DepthRows(FileReader(paths), file_stamps(paths))
