"""Splits of a data set: folders, shards and rows that are named after one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.text import printable

USUAL = ("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation")
"""Splits that are read if the entry names none, the first of them that a set has."""

NAMES = frozenset({*USUAL, "train", "training", "trn", "unlabeled", "unlabelled"})
SPLIT = "split"
_NUMBERED = re.compile(r"(?P<start>.*?)(?P<index>\d{3,})-of-(?P<count>\d{3,})")
_IN_FILE_NAME = re.compile(rf"(?:^|[-._ 0-9])({'|'.join(sorted(NAMES))})(?=[-._ 0-9]|$)", re.IGNORECASE)


def chosen_split(entry: DataEntry, splits: Iterable[str], usual: Iterable[str] = USUAL) -> str:
    """Return the entry's split, or otherwise the first of `usual` that exists, or the only one.

    Raises:
        DataError: the split is not among `splits`, or there are several and none is usual.
    """
    names = sorted(set(splits))
    by_folded = {name.casefold(): name for name in reversed(names)}
    if entry.split in names:
        return entry.split
    if entry.split.casefold() in by_folded and entry.split:
        return by_folded[entry.split.casefold()]
    if not entry.split:
        found = next((by_folded[split] for split in usual if split in by_folded), None)
        found = found or next((name for split in usual for name in names if split in _words(name)), None)
        if found is not None:
            return found
        if len(names) == 1:
            return names[0]
    wrong = f"no split {entry.split!r}{did_you_mean(entry.split, names)}" if entry.split else "which split?"
    listed = ", ".join(map(printable, names)) or "no splits"
    raise DataError(f"data set {entry.name!r}: {wrong}; {entry.location} has {listed}; add ?split=NAME")


def no_such_split(entry: DataEntry, why: str) -> DataError:
    """Return the error for a split that the entry names and the set cannot have."""
    return DataError(
        f"data set {entry.name!r}: no split {entry.split!r}: {why}; leave out split={entry.split}, or give the "
        "location of that split"
    )


def is_split_name(name: str) -> bool:
    """Return whether a folder is named after a split.

    >>> is_split_name("val"), is_split_name("Train2017"), is_split_name("training wheels"), is_split_name("latest")
    (True, True, True, False)
    """
    return bool(NAMES.intersection(_words(name)))


def split_of_path(path: str) -> str:
    """Return the split that a relative path of a shard is named after, or ``""``.

    >>> split_of_path("data/train-00000-of-00002.parquet"), split_of_path("val/0.tar"), split_of_path("latest.tar")
    ('train', 'val', '')
    """
    parts = PurePosixPath(path).parts
    folder = next((part for part in reversed(parts[:-1]) if is_split_name(part)), "")
    found = _IN_FILE_NAME.search(PurePosixPath(path).stem)
    return folder or (found.group(1) if found else "")


def split_folders(images: Sequence[str], *, classes_below: bool) -> tuple[dict[str, int], list[str]]:
    """Return the folders of `images` (relative paths) that are splits, with their numbers of images, and the rest.

    A folder with the name of a split is one if its images are in folders of classes, or without `classes_below` in any
    case: ``train/a.png`` can be an image of a train.
    """
    depths: dict[str, list[int]] = {}
    for path in images:
        parts = PurePosixPath(path).parts
        depths.setdefault(parts[0] if len(parts) > 1 else "", []).append(len(parts))
    deep = 3 if classes_below else 2
    splits = {name: len(of) for name, of in depths.items() if is_split_name(name) and min(of) >= deep}
    return splits, [name for name in depths if name not in splits]


def split_files(entry: DataEntry, base: Path, files: Sequence[str]) -> tuple[list[str], bool]:
    """Return the files of the entry's split and whether their names decided it; all files if none is named after one.

    base: the folder that the names of splits are below.

    Raises:
        DataError: no file has the split, or it is not clear which files to read.
    """
    split_of = {file: split_of_path(Path(file).relative_to(base).as_posix()) for file in files}
    splits = {split for split in split_of.values() if split}
    if not splits:
        return list(files), base.name.casefold() == entry.split.casefold() != ""
    unnamed = next((file for file, split in split_of.items() if not split), None)
    if not entry.split and unnamed is not None:
        raise DataError(
            f"data set {entry.name!r}: {entry.location} has files of the splits {', '.join(sorted(splits))} and "
            f"{printable(Path(unnamed).name)!r}, which names none; add ?split=NAME, or name the files: *.parquet"
        )
    chosen = chosen_split(entry, splits)
    return [file for file in files if split_of[file] == chosen], True


def refuse_missing_shards(entry: DataEntry, files: Sequence[str]) -> None:
    """Refuse shards called ``NAME-00000-of-00003`` of which some are missing.

    Raises:
        DataError: a shard is missing; the message names it.
    """
    present: dict[tuple[str, int], set[int]] = {}
    for file in files:
        match = _NUMBERED.search(file)
        if match:
            present.setdefault((match["start"], int(match["count"])), set()).add(int(match["index"]))
    for (start, count), numbers in present.items():
        missing = sorted(set(range(count)) - numbers)
        if missing:
            name = f"{Path(start).name}{missing[0]:05d}-of-{count:05d}"
            raise DataError(
                f"data set {entry.name!r}: {len(missing)} of {count} shards are missing, such as {printable(name)!r}"
            )


def split_rows(
    entry: DataEntry, values: Sequence[Any], where: str, *, settled: bool = False, or_all: bool = False
) -> Ints | None:
    """Return the positions of the rows of the entry's split by their `values` in a column of splits; None for all.

    settled: the rows are already those of the entry's split, so that other names in the column do not matter.
    or_all: all rows are meant if the entry names no split and none has a usual name.

    Raises:
        DataError: no row has the split, or a row has none.
    """
    splits = {str(value) for value in values if value not in (None, "")}
    if settled and entry.split not in splits:
        return None
    if not splits:
        if entry.split:
            raise no_such_split(entry, f"column {SPLIT!r} of {where} is empty")
        return None
    empty = next((row for row, value in enumerate(values) if value in (None, "")), None)
    if empty is not None:
        raise DataError(f"data set {entry.name!r}: {where}: row {empty} has no {SPLIT!r}, but other rows have one")
    if or_all and not entry.split and not {split.casefold() for split in splits} & {*USUAL}:
        return None
    chosen = chosen_split(entry, splits)
    if len(splits) == 1:
        return None
    return np.flatnonzero([str(value) == chosen for value in values])


def split_remark(entry: DataEntry, chosen: str, splits: Mapping[str, object] | Iterable[str]) -> tuple[str, ...]:
    """Return a line that says which split is read, if the entry does not say it and there are several."""
    names = sorted(set(splits))
    if entry.split or len(names) < 2:
        return ()
    listed = ", ".join(map(printable, names))
    return (f"data set {entry.name!r}: reads the split {chosen!r} of {listed}; ?split=NAME reads another one",)


def _words(name: str) -> list[str]:
    return re.split(r"[\W\d_]+", name.casefold())
