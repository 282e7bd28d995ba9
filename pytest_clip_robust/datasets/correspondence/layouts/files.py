"""Helpers that the layouts share: detection, splits, and files that must exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import IMAGE_SUFFIXES
from pytest_clip_robust.datasets.sources.walk import visible, walk
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder, user_path
from pytest_clip_robust.system.text import printable

_Found = TypeVar("_Found")

TABLES = (".parquet", ".tar")


@dataclass(frozen=True, slots=True)
class Layout(Generic[_Found]):
    """Functions that recognise and read a folder of one layout."""

    fits: Callable[[Path], bool]
    read: Callable[[DataEntry, Path], _Found]


def read_layout(
    entry: DataEntry,
    layouts: Mapping[str, Layout[_Found]],
    read_table: Callable[[DataEntry, Path | None], _Found],
    things: str,
    *,
    cache_dir: Path | None,
) -> _Found:
    """Read the entry with the layout of its folder, or otherwise as a table; `things` names the content in messages.

    Raises:
        DataError: the set cannot be read, its images would be cropped, or some of them are asked for.
    """
    if entry.images:
        raise DataError(
            f"data set {entry.name!r}: images={entry.images} cannot be used with {things}, which belong to pairs of "
            "images: set pairs in the profile's [correspondence] instead"
        )
    if entry.crop_border:
        raise DataError(
            f"data set {entry.name!r}: crop_border={entry.crop_border} cannot be used with {things}, whose coordinates "
            "are those of whole images"
        )
    found = _find_layout(entry, layouts, things)
    return read_table(entry, cache_dir) if found is None else found[0].read(entry, found[1])


def existing_file(path: Path, where: str) -> Path:
    """Return `path`.

    Raises:
        DataError: it is not a file.
    """
    if not is_file(path):
        raise DataError(f"{where}: no file {printable(str(path))}")
    return path


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order: 9 before 10."""
    return in_natural_order(path for path in visible(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES)


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths sorted by name, with numbers in names sorted by value."""
    return sorted(paths, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", str(path))])


def _find_layout(
    entry: DataEntry, layouts: Mapping[str, Layout[_Found]], things: str
) -> tuple[Layout[_Found], Path] | None:
    """Return the entry's own layout or the first that fits, and its folder; None for a table.

    Raises:
        DataError: the folder does not exist, or has none of these layouts and no table.
    """
    root = user_path(entry.location).absolute()
    if entry.format in layouts:
        if not entry.location or not is_folder(root):
            missing = f"no folder {entry.location}" if entry.location else "it has no location"
            raise DataError(f"data set {entry.name!r}: {missing}; format {entry.format!r} needs a folder")
        return layouts[entry.format], root
    if entry.format != "auto" or not entry.location or not is_folder(root):
        return None
    fitting = next((layout for layout in layouts.values() if layout.fits(root)), None)
    if fitting is not None:
        return fitting, root
    if any(path.lower().endswith(TABLES) for path in walk(entry, root).others):
        return None
    raise DataError(
        f"data set {entry.name!r}: {root} has no {things} in a known layout ({', '.join(layouts)}), "
        f"and no {' or '.join(TABLES)} file"
    )
