"""Checks of data entries before a run: every file and folder that an entry names has to exist."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import CLASS_LISTS, DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.files import exists, is_folder, user_path
from pytest_clip_robust.system.text import printable

WILDCARDS = "*?["


def check_entry(entry: DataEntry) -> None:
    """Check that the location, table, class list, annotations and depth maps of an entry exist, without reading them.

    A data set on the hub is not asked for.

    Raises:
        DataError: one of them does not exist; the message names the set and the path.
    """
    if not entry.location:
        where = f"; get it: {entry.hint}; pytest --clip-data-check lists all that is missing" if entry.hint else ""
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path{where}")
    if entry.location.startswith(showroom.PREFIX):
        showroom.data_file(entry.location.removeprefix(showroom.PREFIX))
        return
    root = user_path(entry.location)
    if not is_hub_name(entry) and not _exists(root):
        raise DataError(f"data set {entry.name!r}: no file or folder {printable(entry.location)}")
    _check_file(entry, "table", [root, root / entry.split, Path()])
    _check_file(entry, "annotations", [root, Path()])
    if isinstance(entry.classes, str) and entry.classes not in CLASS_LISTS:
        _check_file(entry, "classes", [Path()], did_you_mean(entry.classes, CLASS_LISTS))
    if "/" in entry.depth and not is_folder(user_path(entry.depth)):
        raise DataError(f"data set {entry.name!r}: no folder {printable(entry.depth)} for depth")


def is_hub_name(entry: DataEntry) -> bool:
    """Return whether an entry's location is a repository on the hub, and not a path.

    >>> is_hub_name(DataEntry(name="a", location="org/name")), is_hub_name(DataEntry(name="a", location="/org/name"))
    (True, False)
    """
    place = entry.location
    if entry.format != "auto" or entry.table:
        return entry.format == "hub"
    is_path = place.startswith((".", "~", "/")) or place.endswith((".parquet", ".tar")) or exists(user_path(place))
    return place.count("/") == 1 and not is_path


def relative_to(entry: DataEntry, folder: Path) -> DataEntry:
    """Return the entry with its paths relative to `folder`, that of a profile, made absolute if they exist there."""
    location = _absolute(entry.location, folder)
    in_data = [user_path(location)]
    return replace(
        entry,
        location=location,
        depth=_absolute(entry.depth, folder),
        table=_absolute(entry.table, folder, unless_in=in_data),
        annotations=_absolute(entry.annotations, folder, unless_in=in_data),
        classes=entry.classes
        if isinstance(entry.classes, tuple) or entry.classes in CLASS_LISTS
        else _absolute(entry.classes, folder),
    )


def _absolute(place: str, folder: Path, *, unless_in: list[Path] | None = None) -> str:
    if not place or any(_exists(root / place) for root in unless_in or ()):
        return place
    return str((folder / place).absolute()) if _exists(folder / place) else place


def _exists(path: Path) -> bool:
    return exists(path) or (any(char in str(path) for char in WILDCARDS) and bool(glob.glob(str(path))))  # noqa: PTH207


def _check_file(entry: DataEntry, key: str, places: list[Path], near: str = "") -> None:
    value = str(getattr(entry, key))
    if value and not any(_exists(place / user_path(value)) for place in places):
        where = "" if Path(value).is_absolute() else f" in {places[0]} or here" if len(places) > 1 else ""
        raise DataError(f"data set {entry.name!r}: {key}: no file {printable(value)}{where}{near}")
