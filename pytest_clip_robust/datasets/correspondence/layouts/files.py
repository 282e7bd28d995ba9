"""Looking for what a layout says is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.reading import IMAGE_SUFFIXES
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.text import one_line, printable

_Found = TypeVar("_Found")

TABLES = (".parquet", ".tar")


@dataclass(frozen=True, slots=True)
class Layout(Generic[_Found]):
    """How a folder of some layout is recognised and read."""

    fits: Callable[[Path], bool]
    read: Callable[[DataEntry, Path], _Found]


def find_layout(
    entry: DataEntry, layouts: Mapping[str, Layout[_Found]], things: str
) -> tuple[Layout[_Found], Path] | None:
    """Return the layout of the entry's folder, its own or the first that fits, and the folder; None for a table.

    Raises:
        DataError: the folder is not there, or has no layout of these and holds no table.
    """
    root = Path(entry.location).expanduser().absolute()
    if entry.format in layouts:
        if not entry.location or not root.is_dir():
            raise DataError(f"data set {entry.name!r}: no folder {entry.location or 'is named'}")
        return layouts[entry.format], root
    if entry.format != "auto" or not entry.location or not root.is_dir():
        return None
    fitting = next((layout for layout in layouts.values() if layout.fits(root)), None)
    if fitting is not None:
        return fitting, root
    if any(next(root.rglob(f"*{suffix}"), None) is not None for suffix in TABLES):
        return None
    raise DataError(
        f"data set {entry.name!r}: {root} holds no {things} in a layout that is known ({', '.join(layouts)}), "
        f"and no {' or '.join(TABLES)} file"
    )


def there(path: Path, where: str) -> Path:
    """Return `path`, which has to be a file.

    Raises:
        DataError: it is none.
    """
    if not path.is_file():
        raise DataError(f"{where}: no file {printable(str(path))}")
    return path


def read_text(path: Path, where: str) -> str:
    """Return the text of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return there(path, where).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: {path} cannot be read: {one_line(error)}") from error


def read_json(path: Path, kind: type, where: str) -> Any:
    """Return what a JSON file holds, a list or an object.

    Raises:
        DataError: it cannot be read, is no JSON, or holds something else.
    """
    try:
        content = json.loads(read_text(path, where))
    except ValueError as error:
        raise DataError(f"{where}: {path}: {error}; expected JSON") from None
    if not isinstance(content, kind):
        expected = "a list" if kind is list else "an object"
        raise DataError(f"{where}: {path} holds a {type(content).__name__}; expected {expected}")
    return content


def pictures_in(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order: 9 before 10."""
    return in_natural_order(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by their names, numbers in them by size."""
    return sorted(paths, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", str(path))])


def chosen_split(entry: DataEntry, splits: Iterable[str], usual: Iterable[str]) -> str:
    """Return the entry's split, or else the first of `usual` that is there, or the only one.

    Raises:
        DataError: it is not among `splits`, or several are and none is usual.
    """
    names = sorted(splits)
    found = entry.split or next((split for split in usual if split in names), names[0] if len(names) == 1 else "")
    if found not in names:
        wrong = f"no split {entry.split!r}{did_you_mean(entry.split, names)}" if entry.split else "which split?"
        raise DataError(
            f"data set {entry.name!r}: {wrong}; {entry.location} has {', '.join(names) or 'none'}; add ?split=NAME"
        )
    return found
