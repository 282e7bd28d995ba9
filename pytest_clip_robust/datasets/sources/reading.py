"""Reading a data entry: the kind of its location decides which source reads it. Labels keep their raw form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.checking import is_hub_name
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.arrow import Opened, arrow_rows
from pytest_clip_robust.datasets.sources.backgrounds import backgrounds, is_backgrounds
from pytest_clip_robust.datasets.sources.columns import IMAGE_NAMES
from pytest_clip_robust.datasets.sources.csv_table import csv_table
from pytest_clip_robust.datasets.sources.folders import class_folders, cue_conflicts, flat_folder, kind_of_images
from pytest_clip_robust.datasets.sources.objectnet import is_objectnet, objectnet
from pytest_clip_robust.datasets.sources.rows import Rows
from pytest_clip_robust.datasets.sources.shards import SUFFIXES, open_files, open_hub
from pytest_clip_robust.datasets.sources.splits import chosen_split, no_such_split, split_folders, split_remark
from pytest_clip_robust.datasets.sources.walk import Walk, walk
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import KEYPOINT_FORMATS, QUESTION_FORMATS, VIEW_FORMATS
from pytest_clip_robust.system.files import exists, is_folder, user_path
from pytest_clip_robust.system.text import printable

IMAGE_FOLDERS = ("imagefolder", "cue-conflict")
WHOLE_FOLDERS = {"objectnet": objectnet, "counteranimal": backgrounds}
"""Readers of folders in one published form, which has no splits."""
OWN_FORMATS = {"views": VIEW_FORMATS, "keypoints": KEYPOINT_FORMATS, "questions": QUESTION_FORMATS}
"""The formats that are only read for sets of one role."""


@dataclass(frozen=True, slots=True)
class _Located:
    """An entry with an absolute location, the kind of its location, and what is in it, if it is a folder."""

    entry: DataEntry
    kind: str
    found: Walk | None = None
    remarks: tuple[str, ...] = ()


def read_rows(entry: DataEntry, cache_dir: str | None, *, labelled: bool = True) -> Rows:
    """Read the rows of `entry`; `cache_dir` is a folder in which `datasets` may write.

    Without `labelled`, a set that has no labels is one class with the set's name.

    Raises:
        DataError: the location or split does not exist or has another form; the message names the set.
    """
    place = _locate(entry)
    if place.kind in IMAGE_FOLDERS:
        place = _in_split_folder(place, labelled=labelled)
    rows = _read(place, cache_dir, labelled=labelled)
    if not rows.samples:
        raise DataError(f"data set {entry.name!r}: no images in {place.entry.location}")
    return replace(rows, remarks=(*place.remarks, *rows.remarks))


def open_table(entry: DataEntry, cache_dir: str | None) -> Opened:
    """Open a Parquet, webdataset or hub location, or a subset of the showroom.

    Raises:
        DataError: the location or split does not exist or has another form; the message names the set.
    """
    place = _locate(entry)
    if place.kind not in {*SUFFIXES, "hub"}:
        raise DataError(
            f"data set {entry.name!r}: {entry.location} has neither .parquet nor .tar files; "
            "name the listing of its images with ?table="
        )
    opened = _open(place, cache_dir)
    if not len(opened.table):
        raise DataError(f"data set {entry.name!r}: no rows in {entry.location}")
    return opened


def _read(place: _Located, cache_dir: str | None, *, labelled: bool) -> Rows:
    if place.kind == "table":
        return csv_table(place.entry, labelled=labelled)
    if place.kind not in {*IMAGE_FOLDERS, *WHOLE_FOLDERS}:
        return arrow_rows(place.entry, _open(place, cache_dir), labelled=labelled)
    if place.found is None:
        raise DataError(f"data set {place.entry.name!r}: no folder {place.entry.location}")
    if place.kind in WHOLE_FOLDERS:
        return WHOLE_FOLDERS[place.kind](place.entry, place.found)
    if place.kind == "cue-conflict":
        return cue_conflicts(place.entry, place.found)
    flat = not labelled and any("/" not in image for image in place.found.images)
    return flat_folder(place.entry, place.found) if flat else class_folders(place.entry, place.found, labelled=labelled)


def _open(place: _Located, cache_dir: str | None) -> Opened:
    return open_hub(place.entry, cache_dir) if place.kind == "hub" else open_files(place.entry, place.kind, cache_dir)


def _locate(entry: DataEntry) -> _Located:
    """Return the entry with its absolute location, in the folder of its split if there is one."""
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path")
    _refuse_formats_of_roles(entry)
    if entry.location.startswith(showroom.PREFIX):
        path = showroom.data_file(entry.location.removeprefix(showroom.PREFIX))
        return _Located(replace(entry, location=str(path)), "parquet")
    if is_hub_name(entry):
        return _Located(entry, "hub")
    path = user_path(entry.location).absolute()
    if entry.split and not entry.table and is_folder(path / entry.split):
        path /= entry.split
    entry = replace(entry, location=str(path))
    if entry.table or entry.format == "table":
        return _Located(entry, "table" if entry.format == "auto" else entry.format)
    found = walk(entry, path) if is_folder(path) else None
    return _Located(entry, _kind(entry, found) if entry.format == "auto" else entry.format, found)


def _kind(entry: DataEntry, found: Walk | None) -> str:
    if found is not None:
        return _kind_of_folder(entry, found)
    for kind, suffix in SUFFIXES.items():
        if entry.location.endswith(suffix):
            return kind
    if exists(Path(entry.location)):
        raise DataError(f"data set {entry.name!r}: {entry.location} is neither a folder nor a .parquet or .tar file")
    raise DataError(f"data set {entry.name!r}: no file or folder {entry.location}")


def _kind_of_folder(entry: DataEntry, found: Walk) -> str:
    """Return what a folder holds.

    Raises:
        DataError: it holds images in files and images in tables, so that the user has to say which of them are meant.
    """
    root = Path(entry.location)
    _refuse_hub_cache(entry, root)
    if is_objectnet(found):
        return "objectnet"
    if is_backgrounds(found):
        return "counteranimal"
    held = {}
    for kind, suffix in SUFFIXES.items():
        files = [path for path in found.others if path.lower().endswith(suffix)]
        if kind == "parquet" and found.images:
            files = [path for path in files if _holds_images(root / path, entry.image)]
        if files:
            held[kind] = files[0]
    if found.images:
        held[kind_of_images(entry, found.images)] = found.images[0]
    if len(held) > 1:
        examples = " and ".join(printable(example) for example in held.values())
        formats = " or ".join(f"format={kind}" for kind in held)
        raise DataError(f"data set {entry.name!r}: {root} has images in several forms, {examples}; add ?{formats}")
    return next(iter(held), "imagefolder")


def _holds_images(path: Path, image: str) -> bool:
    """Return whether a Parquet file has a column of images, and not only features or labels of images."""
    try:
        schema = pq.read_schema(path)
    except Exception:  # noqa: BLE001 - a damaged file is reported by its reader
        return True
    names = {*IMAGE_NAMES, image}
    types = dict(zip(schema.names, map(str, schema.types), strict=True))
    return any("bytes: binary" in kind or (name in names and kind.endswith("binary")) for name, kind in types.items())


def _refuse_hub_cache(entry: DataEntry, root: Path) -> None:
    if is_folder(root / "snapshots") and is_folder(root / "blobs"):
        snapshot = next(iter(sorted((root / "snapshots").iterdir())), root / "snapshots" / "HASH")
        raise DataError(
            f"data set {entry.name!r}: {root} is a cache folder of the hub, which can hold several versions; give one, "
            f"such as {snapshot}"
        )


def _refuse_formats_of_roles(entry: DataEntry) -> None:
    """Refuse the formats of posed views, keypoints and questions, which have their own readers."""
    role = next((role for role, formats in OWN_FORMATS.items() if entry.format in formats), None)
    if role is not None:
        raise DataError(f"data set {entry.name!r}: format {entry.format!r} is only read as {role}; add ?role={role}")


def _in_split_folder(place: _Located, *, labelled: bool) -> _Located:
    """Return the place of the split to read, with a remark if the entry does not name it.

    Raises:
        DataError: the entry names a split that is not a folder, or it is not clear which split to read.
    """
    entry, found = place.entry, place.found
    if found is None:
        return place
    root = Path(entry.location)
    splits, others = split_folders(found.images, classes_below=labelled and place.kind == "imagefolder")
    if entry.split:
        # `_locate` stepped into the folder of the split, if there is one.
        if root.name.casefold() == entry.split.casefold() and not splits:
            return place
        folders = sorted({*splits, *(path.split("/")[0] for path in found.images if "/" in path)})
        near = did_you_mean(entry.split, folders)
        listed = ", ".join(map(printable, folders[:5])) or "no folders"
        raise no_such_split(entry, f"{root} has no such folder{near}, but {listed}")
    if not splits or (others and len(splits) < 2):
        return place
    if others:
        raise DataError(
            f"data set {entry.name!r}: {root} has the splits {', '.join(splits)} next to {printable(others[0])!r}; "
            "add ?split=NAME"
        )
    chosen = chosen_split(entry, splits)
    below = replace(entry, location=str(root / chosen))
    return _Located(below, place.kind, walk(below, root / chosen), split_remark(entry, chosen, splits))
