"""CSV tables of image files and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.columns import (
    DEPTH,
    IMAGE_NAMES,
    factor_columns,
    find_column,
    label_column,
    texture_names,
)
from pytest_clip_robust.datasets.sources.delimited import Line, read_delimited
from pytest_clip_robust.datasets.sources.folders import depth_files
from pytest_clip_robust.datasets.sources.rows import DepthRows, FileReader, Rows, file_rows, file_stamps
from pytest_clip_robust.datasets.sources.splits import SPLIT, no_such_split, split_remark, split_rows
from pytest_clip_robust.datasets.sources.walk import check_inside, spelled_file
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, read_text, user_path
from pytest_clip_robust.system.text import printable


def csv_table(entry: DataEntry, *, labelled: bool) -> Rows:
    """Read the entry's table: one image per line, its file relative to the entry's folder.

    The lines of the entry's split are read if there is a column ``split``, or if the table is in a folder of that name.

    Raises:
        DataError: the table cannot be read, lacks a column or the split, or names a file that does not exist.
    """
    root, path, in_split = _places(entry)
    where = f"data set {entry.name!r}: table {path}"
    columns, lines = read_delimited(read_text(path, f"data set {entry.name!r}: table"), where)
    lines, remarks = _of_split(entry, columns, lines, where, in_split=in_split)
    image = find_column(entry, "image", entry.image, IMAGE_NAMES, columns)
    label = label_column(entry, columns, labelled=labelled)
    paths = []
    for line in lines:
        for column in (image, label) if label else (image,):
            if not line.values[column].strip():
                raise DataError(f"data set {entry.name!r}: {path}, line {line.number} has no {column!r}")
        check_inside(root, line.values[image], f"{where}, line {line.number}", absolute=True)
        file = spelled_file(root / line.values[image])
        if file is None:
            missing = printable(str(root / line.values[image]))
            raise DataError(f"data set {entry.name!r}: {path}, line {line.number}: no file {missing}")
        paths.append(str(file))

    def values(column: str) -> list[str]:
        return [line.values[column] for line in lines]

    rows = file_rows(values(image), paths, origin=str(path))
    annotations, factor_remarks = factor_columns(entry, columns, values)
    return replace(
        rows,
        labels=list(values(label)) if label else [entry.name] * len(rows),
        textures=texture_names(entry, columns, values),
        annotations=annotations,
        depth=_depth(entry, root, columns, lines, values(image)),
        remarks=(*remarks, *factor_remarks, *_repeated_remarks(entry, values(image))),
    )


def _places(entry: DataEntry) -> tuple[Path, Path, bool]:
    """Return the folder of the images, the table, and whether both are in a folder of the entry's split."""
    root, table = Path(entry.location), user_path(entry.table or "labels.csv")
    if entry.split and is_file(root / entry.split / table) and not table.is_absolute():
        return root / entry.split, root / entry.split / table, True
    return root, root / table, False


def _of_split(
    entry: DataEntry, columns: Sequence[str], lines: list[Line], where: str, *, in_split: bool
) -> tuple[list[Line], tuple[str, ...]]:
    if SPLIT not in columns:
        if entry.split and not in_split and Path(entry.location).name != entry.split:
            raise no_such_split(entry, f"{where} has no column {SPLIT!r}")
        return lines, ()
    values = [line.values[SPLIT] for line in lines]
    kept = split_rows(entry, values, where, settled=in_split)
    if kept is None:
        return lines, ()
    chosen = values[int(kept[0])]
    return [lines[i] for i in kept.tolist()], split_remark(entry, chosen, values)


def _repeated_remarks(entry: DataEntry, samples: Sequence[str]) -> tuple[str, ...]:
    _, counts = np.unique(np.array(samples, dtype=object).astype(str), return_counts=True)
    repeated = int((counts - 1).sum())
    if not repeated:
        return ()
    return (f"data set {entry.name!r}: {repeated} lines name an image that another line names: each counts separately",)


def _depth(
    entry: DataEntry, root: Path, columns: Sequence[str], lines: Sequence[Line], samples: Sequence[str]
) -> DepthRows | None:
    column = entry.depth or DEPTH
    if column not in columns:
        return depth_files(entry, samples)
    for line in lines:
        check_inside(root, line.values[column], f"data set {entry.name!r}: line {line.number}", absolute=True)
    paths = [str(root / line.values[column]) for line in lines]
    missing = next((path for path in paths if not is_file(Path(path))), None)
    if missing is not None:
        raise DataError(f"data set {entry.name!r}: no depth map {printable(missing)}")
    return DepthRows(FileReader(paths), file_stamps(paths))
