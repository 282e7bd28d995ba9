"""Tables of Hugging Face `datasets`, read as rows; images stay undecoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.columns import (
    DEPTH,
    INTRINSICS,
    factor_columns,
    find_column,
    image_column,
    label_column,
    texture_names,
)
from pytest_clip_robust.datasets.sources.rows import DepthRows, Rows, file_stamps
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, read_text
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import printable

BYTES_OR_PATHS = frozenset({"binary", "large_binary", "string", "large_string"})


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads the images of a column of a memory-mapped `datasets.Dataset`; see `named_file` for files that it names."""

    dataset: Any
    column: str
    folder: str = ""
    roots: tuple[str, ...] = ()

    def __call__(self, index: int, /) -> bytes:
        """Return the encoded image of row `index`."""
        value = self.dataset[index][self.column]
        content: bytes | None = value and value["bytes"]
        if content is None and value and value["path"]:
            path = named_file(value["path"], self.folder, self.roots)
            if path is None:
                raise DataError(
                    f"column {self.column!r} names the file {printable(value['path'])}, which does not exist"
                )
            content = path.read_bytes()
        if content is None:
            raise DataError(f"column {self.column!r} has no image in this row")
        return content


@dataclass(frozen=True, slots=True)
class Opened:
    """A `datasets.Dataset`, and what is known about the files that it was made from.

    rows: the number of every row in the files. names_file: the file of class names next to them, or None.
    folder: the folder of files that rows can name.
    stamp: changes whenever the files change, or None where that cannot be promised. remarks: lines for the user.
    roots: the folders that files which rows name must be in; empty for any.
    """

    table: Any
    rows: list[int]
    names_file: Path | None
    folder: str = ""
    stamp: str | None = None
    remarks: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()

    def take(self, positions: Sequence[int]) -> Opened:
        """Return the rows at `positions`, in that order."""
        return replace(self, table=self.table.select(positions), rows=[self.rows[i] for i in positions])


def named_file(path: str, folder: str, roots: Sequence[str] = ()) -> Path | None:
    """Return the file that a row names, relative to the folder of its table or to the current one; None if missing.

    roots: the folders that it must be in, for tables that others made; empty for any.

    Raises:
        DataError: it is in none of them, or a relative name leads out of its folder.
    """
    place = os.path.abspath(path)  # noqa: PTH100 - links are not followed, which the cache of the hub consists of
    outside = bool(roots) and not any(os.path.commonpath([place, root]) == root for root in roots)
    if outside or os.path.normpath(path).startswith(os.pardir):
        raise DataError(f"a row names the file {printable(path)}, which is not in a folder of its data set: refused")
    places = [Path(folder) / path, Path(path)] if folder else [Path(path)]
    return next((place for place in places if is_file(place)), None)


def arrow_rows(entry: DataEntry, opened: Opened, *, labelled: bool) -> Rows:
    """Return the images of a table with their labels, textures, visual factors and depth.

    Raises:
        DataError: a column is missing, or a row has no label.
    """
    table = opened.table
    columns = list(table.features)
    label = label_column(entry, columns, labelled=labelled)
    pictures = table_images(entry, opened)
    labels = column_values(table, label) if label else [entry.name] * len(table)
    empty = next((row for row, value in enumerate(labels) if value is None or value == -1), None)
    if empty is not None:
        raise DataError(f"data set {entry.name!r}: row {empty} of {entry.location} has no {label!r}")
    unusable = next((one for one in labels if not isinstance(one, str | int) or isinstance(one, bool)), None)
    if unusable is not None:
        raise DataError(f"data set {entry.name!r}: {label}={unusable!r} is neither a name nor a whole number")
    names = getattr(table.features[label], "names", None) if label else None
    if names is None and opened.names_file is not None and isinstance(labels[0] if labels else "", int):
        names = read_text(opened.names_file, f"data set {entry.name!r}").rstrip().split("\n")

    values = partial(column_values, table)
    annotations, remarks = factor_columns(entry, columns, values)
    return replace(
        pictures,
        labels=labels,
        names=None if names is None else tuple(names),
        textures=texture_names(entry, columns, values),
        annotations=annotations,
        depth=table_depth(entry, opened),
        intrinsics=table_intrinsics(entry, table),
        remarks=(*pictures.remarks, *remarks),
    )


def table_images(entry: DataEntry, opened: Opened, *, column: str = "") -> Rows:
    """Return the images of a table's `column`, by default the entry's or the usual one, as rows of one class.

    Raises:
        DataError: there is no such column, or it does not hold images.
    """
    images, image = _image_column(entry, opened.table, column)
    return Rows(
        read=ArrowReader(images, image, opened.folder, opened.roots),
        samples=_sample_names(images, image, opened),
        labels=[entry.name] * len(opened.table),
        stamps=_stamps(images, image, opened),
        origin=f"{opened.stamp or entry.location}|{image}",
        remarks=opened.remarks,
    )


def table_depth(entry: DataEntry, opened: Opened) -> DepthRows | None:
    """Return a table's depth maps; None if it has none.

    Raises:
        DataError: the entry names a column that does not exist or does not hold depth maps.
    """
    import datasets  # noqa: PLC0415 - takes seconds

    column, table = entry.depth or DEPTH, opened.table
    if column not in table.features:
        if entry.depth:
            find_column(entry, "depth", column, (), list(table.features))
        return None
    feature = table.features[column]
    if not isinstance(feature, datasets.Image | dict) and getattr(feature, "dtype", "") not in BYTES_OR_PATHS:
        raise DataError(f"data set {entry.name!r}: column {column!r} of type {feature} does not hold depth maps")
    with quiet_datasets():
        maps = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return DepthRows(ArrowReader(maps, column, opened.folder, opened.roots), _stamps(maps, column, opened))


def table_intrinsics(entry: DataEntry, table: Any) -> NDArray[np.float32] | None:
    """Return a table's (N, 3, 3) camera matrices; None if it has none. A row is nine numbers or three rows of three.

    Raises:
        DataError: a row does not have nine numbers.
    """
    if INTRINSICS not in table.features:
        return None
    try:
        return np.array(column_values(table, INTRINSICS), np.float32).reshape(-1, 3, 3)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"data set {entry.name!r}: column {INTRINSICS!r} does not have nine numbers per row; "
            "expected a 3 x 3 camera matrix"
        ) from error


def column_values(table: Any, column: str) -> list[Any]:
    """Return the values of a table's column; all at once, because row by row takes ten times as long."""
    values: list[Any] = table[column][:]
    return values


def table_column(entry: DataEntry, table: Any, column: str) -> list[Any]:
    """Return the values of a table's column.

    Raises:
        DataError: a row has no value.
    """
    values = column_values(table, column)
    if None in values:
        raise DataError(f"data set {entry.name!r}: row {values.index(None)} has no {column!r}")
    return values


def _image_column(entry: DataEntry, table: Any, image: str) -> tuple[Any, str]:
    """Return a table of the undecoded images only, and the name of its column."""
    import datasets  # noqa: PLC0415 - takes seconds

    if not image:
        typed = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
        others = [name for name, feature in table.features.items() if name not in typed and _holds_bytes(feature)]
        image = image_column(entry, typed, others, list(table.features))
    image = find_column(entry, "image", image, (), list(table.features))
    with quiet_datasets():
        try:
            return table.select_columns([image]).cast_column(image, datasets.Image(decode=False)), image
        except Exception as error:
            raise DataError(
                f"data set {entry.name!r}: column {image!r} of type {table.features[image]} does not hold images"
            ) from error


def _holds_bytes(feature: Any) -> bool:
    return isinstance(feature, dict) or getattr(feature, "dtype", "") in BYTES_OR_PATHS


def _sample_names(images: Any, image: str, opened: Opened) -> list[str]:
    if "__key__" in opened.table.features:
        return column_values(opened.table, "__key__")
    paths = _field(images, image, "path")
    return [
        f"row {row}: {Path(path).name}" if path else f"row {row}" for row, path in zip(opened.rows, paths, strict=True)
    ]


def _stamps(images: Any, image: str, opened: Opened) -> list[str | None]:
    """Return the stamp of every image: its row in files with a stamp, or that of the file that the row names."""
    stamps: list[str | None] = [None if opened.stamp is None else str(row) for row in opened.rows]
    outside = [i for i, empty in enumerate(_field(images, image, "bytes", empty=True)) if empty]
    if outside:
        paths = _field(images, image, "path")
        files = [str(named_file(paths[i] or "", opened.folder, opened.roots) or "") for i in outside]
        for i, stamp in zip(outside, file_stamps(files), strict=True):
            stamps[i] = stamp
    return stamps


def _field(images: Any, image: str, name: str, *, empty: bool = False) -> list[Any]:
    """Return a field of an image column, or with `empty` whether it is empty, without reading the images' bytes."""
    chunks = [chunk.field(name) for chunk in images.data.column(image).chunks]
    values = [value for chunk in chunks for value in (chunk.is_null() if empty else chunk).to_pylist()]
    indices = images._indices  # noqa: SLF001 - Arrow's own columns know nothing of them
    return values if indices is None else [values[i] for i in indices.column(0).to_pylist()]


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Silence the progress bars and warnings of `datasets`."""
    with quiet():
        from datasets import utils  # noqa: PLC0415 - takes seconds

    bars = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        if not bars:
            utils.enable_progress_bars()
