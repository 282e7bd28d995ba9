"""Columns of a table: which one holds the images, the labels, the textures and the visual factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import Label
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import FACTORS

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "file", "file_name", "filename", "path", "bytes")
LABEL_NAMES = ("label", "labels", "cls", "class", "class_name", "wnid", "fine_label", "category", "target")
TEXTURE = "texture"
DEPTH = "depth"
INTRINSICS = "intrinsics"
FLAGS = {"1": True, "0": False, "true": True, "false": False}

Values = Callable[[str], list[Any]]
"""Returns the values of a column."""


def find_column(entry: DataEntry, key: str, wanted: str, usual: Sequence[str], columns: Sequence[str]) -> str:
    """Return the column `wanted`, or without one the first of the `usual` names; `key` is the entry's key for it.

    Raises:
        DataError: the table does not have it; the message lists the columns that it has.
    """
    found = wanted or next((name for name in usual if name in columns), "")
    if found not in columns:
        missing = (
            f"no column {wanted!r}{did_you_mean(wanted, columns)}" if wanted else f"no column looks like the {key}"
        )
        raise DataError(f"data set {entry.name!r}: {missing}; it has {', '.join(columns)}; name one with ?{key}=")
    return found


def label_column(entry: DataEntry, columns: Sequence[str], *, labelled: bool) -> str:
    """Return the name of the column of labels, or ``""`` if there is none and none is needed.

    Raises:
        DataError: there is no such column.
    """
    if not labelled and not entry.label and not any(name in columns for name in LABEL_NAMES):
        return ""
    return find_column(entry, "label", entry.label, LABEL_NAMES, columns)


def texture_names(entry: DataEntry, columns: Sequence[str], values: Values) -> list[Label] | None:
    """Return the column `texture`, or None if there is none, or if it is a visual factor: only 0 and 1.

    Raises:
        DataError: a row has no name there.
    """
    if TEXTURE not in columns:
        return None
    names = values(TEXTURE)
    if all(str(name).lower() in FLAGS for name in names):
        return None
    bad = next((row for row, name in enumerate(names) if not isinstance(name, str) or not name), None)
    if bad is not None:
        raise DataError(f"data set {entry.name!r}: row {bad}: texture={names[bad]!r}; expected the name of a class")
    return names


def factor_columns(entry: DataEntry, columns: Sequence[str], values: Values) -> dict[str, NDArray[np.bool_]]:
    """Return the factor columns that the entry names, or otherwise the known ones that hold only 0 and 1.

    A cue-conflict set also has columns ``shape`` and ``texture``, which hold class names.

    Raises:
        DataError: a column that the entry names is missing, or holds another value.
    """
    annotations = {}
    for factor in entry.factors or (factor for factor in FACTORS if factor in columns):
        find_column(entry, "factors", factor, (), columns)
        flags = [FLAGS.get(str(value).lower()) for value in values(factor)]
        if None not in flags:
            annotations[factor] = np.array(flags, dtype=np.bool_)
        elif entry.factors:
            row = flags.index(None)
            raise DataError(f"data set {entry.name!r}: row {row}: {factor}={values(factor)[row]!r}; expected 0 or 1")
    return annotations
