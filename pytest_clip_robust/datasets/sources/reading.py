"""Reading a data entry: the kind of its location decides which source reads it. Labels keep their raw form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.arrow import SUFFIXES, Opened, arrow_rows, open_files, open_hub
from pytest_clip_robust.datasets.sources.csv_table import csv_table
from pytest_clip_robust.datasets.sources.folders import (
    class_folders,
    cue_conflicts,
    flat_folder,
    has_cue_names,
    is_flat,
)
from pytest_clip_robust.datasets.sources.rows import Rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import KEYPOINT_FORMATS, VIEW_FORMATS


def read_rows(entry: DataEntry, cache_dir: str | None, *, labelled: bool = True) -> Rows:
    """Read the rows of `entry`; `cache_dir` is a folder in which `datasets` may write.

    Without `labelled`, a set that has no labels is one class with the set's name.

    Raises:
        DataError: the location does not exist or has another form; the message names the set.
    """
    entry = _located(entry)
    kind = _kind(entry)
    rows = _read(_in_split_folder(entry, kind), kind, cache_dir, labelled=labelled)
    if not rows.samples:
        raise DataError(f"data set {entry.name!r}: no images in {entry.location}")
    return rows


def open_table(entry: DataEntry, cache_dir: str | None) -> Any:
    """Open a Parquet, webdataset or hub location, or a subset of the showroom, as a `datasets.Dataset`.

    Raises:
        DataError: the location does not exist or has another form; the message names the set.
    """
    entry = _located(entry)
    kind = _kind(entry)
    if kind not in {*SUFFIXES, "hub"}:
        raise DataError(
            f"data set {entry.name!r}: {entry.location} has neither .parquet nor .tar files; "
            "name the listing of its images with ?table="
        )
    table = _open(_in_split_folder(entry, kind), kind, cache_dir).table
    if not len(table):
        raise DataError(f"data set {entry.name!r}: no rows in {entry.location}")
    return table


def _read(entry: DataEntry, kind: str, cache_dir: str | None, *, labelled: bool) -> Rows:
    if kind == "table":
        return csv_table(entry, labelled=labelled)
    if kind == "cue-conflict":
        return cue_conflicts(entry)
    if kind == "imagefolder":
        flat = not labelled and is_flat(Path(entry.location))
        return flat_folder(entry) if flat else class_folders(entry, cache_dir)
    return arrow_rows(entry, _open(entry, kind, cache_dir), labelled=labelled)


def _open(entry: DataEntry, kind: str, cache_dir: str | None) -> Opened:
    return open_hub(entry, cache_dir) if kind == "hub" else open_files(entry, kind, cache_dir)


def _located(entry: DataEntry) -> DataEntry:
    """Return the entry with a location; for a subset of the showroom, that of its file."""
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path")
    if entry.location.startswith(showroom.PREFIX):
        path = showroom.data_file(entry.location.removeprefix(showroom.PREFIX))
        return replace(entry, location=str(path), format="parquet")
    return entry


def _kind(entry: DataEntry) -> str:
    _refuse_paired(entry)
    if entry.format != "auto":
        return entry.format
    if entry.table:
        return "table"
    path = Path(entry.location).expanduser()
    if path.is_dir():
        for kind, suffix in SUFFIXES.items():
            if next(path.rglob(f"*{suffix}"), None) is not None:
                return kind
        return "cue-conflict" if has_cue_names(path) else "imagefolder"
    for kind, suffix in SUFFIXES.items():
        if entry.location.endswith(suffix):
            return kind
    if path.exists():
        raise DataError(f"data set {entry.name!r}: {entry.location} is neither a folder nor a .parquet or .tar file")
    if entry.location.count("/") == 1 and not entry.location.startswith((".", "~", "/")):
        return "hub"
    raise DataError(f"data set {entry.name!r}: no file or folder {entry.location}")


def _refuse_paired(entry: DataEntry) -> None:
    """Refuse the formats of posed views and keypoints, which have their own readers."""
    if entry.format in {*VIEW_FORMATS, *KEYPOINT_FORMATS}:
        role = "views" if entry.format in VIEW_FORMATS else "keypoints"
        raise DataError(f"data set {entry.name!r}: format {entry.format!r} is only read as {role}; add ?role={role}")


def _in_split_folder(entry: DataEntry, kind: str) -> DataEntry:
    """Return the entry with the folder of its split as location, if the location is local and has one."""
    if kind == "hub":
        return entry
    path = Path(entry.location).expanduser().absolute()
    if entry.split and (path / entry.split).is_dir():
        path /= entry.split
    return replace(entry, location=str(path))
