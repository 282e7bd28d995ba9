"""Columns of a table: which one holds the images, the labels, the textures and the visual factors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.annotations import as_flag
from pytest_clip_robust.datasets.sources.rows import Label
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.system.text import printable

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "file", "file_name", "filename", "path", "bytes")
LABEL_NAMES = ("label", "labels", "cls", "class", "class_name", "wnid", "fine_label", "category", "target")
TEXTURE = "texture"
DEPTH = "depth"
INTRINSICS = "intrinsics"
NOT_IMAGES = frozenset(
    {"mask", "masks", "seg", "segmentation", "depth", "normal", "normals", "label", "labels", "annotation", "trimap"}
    | {
        "alpha",
        "edge",
        "edges",
        "saliency",
        "thumb",
        "thumbnail",
        "preview",
        "flow",
        "disparity",
        "heatmap",
        "instance",
    }
)
"""Words in the names of columns of pictures that are not the images to classify."""

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
    """Return the name of the column of labels, or ``""`` if the table has no labels and needs none.

    Raises:
        DataError: there is no such column.
    """
    if not labelled and not entry.label and not any(name in columns for name in LABEL_NAMES):
        return ""
    return find_column(entry, "label", entry.label, LABEL_NAMES, columns)


def texture_names(entry: DataEntry, columns: Sequence[str], values: Values) -> list[Label] | None:
    """Return the column `texture`, or None if the table has no such column, or it is a visual factor: only 0 and 1.

    Raises:
        DataError: a row has no name there.
    """
    if TEXTURE not in columns:
        return None
    names = values(TEXTURE)
    if all(as_flag(name) is not None for name in names):
        return None
    bad = next((row for row, name in enumerate(names) if not isinstance(name, str) or not name), None)
    if bad is not None:
        raise DataError(f"data set {entry.name!r}: row {bad}: texture={names[bad]!r}; expected the name of a class")
    return names


def factor_columns(
    entry: DataEntry, columns: Sequence[str], values: Values
) -> tuple[dict[str, NDArray[np.bool_]], tuple[str, ...]]:
    """Return the factor columns that the entry names, or otherwise the known ones that hold booleans, and remarks.

    A column with the name of a factor that holds no boolean at all is something else, such as a colour's name; the
    columns ``shape`` and ``texture`` of a cue-conflict set hold class names.

    Raises:
        DataError: a column that the entry names is missing, or a column has values that are not booleans.
    """
    annotations: dict[str, NDArray[np.bool_]] = {}
    remarks = []
    for factor in entry.factors or (factor for factor in FACTORS if factor in columns):
        find_column(entry, "factors", factor, (), columns)
        found = values(factor)
        flags = [as_flag(value) for value in found]
        wrong = next((row for row, flag in enumerate(flags) if flag is None), None)
        if wrong is None:
            annotations[factor] = np.array(flags, dtype=np.bool_)
        elif entry.factors or any(flag is not None for flag in flags):
            way_out = "" if entry.factors else f"; if {factor!r} is not a visual factor, name the others with factors="
            raise DataError(
                f"data set {entry.name!r}: row {wrong}: {factor}={found[wrong]!r}; expected 0 or 1{way_out}"
            )
        elif isinstance(found[wrong], str | int | float) and factor not in {"shape", TEXTURE}:
            remarks.append(
                f"data set {entry.name!r}: column {factor!r} is not read as a visual factor: its values, such as "
                f"{printable(str(found[wrong]))!r}, are not 0 or 1"
            )
    return annotations, tuple(remarks)


def image_column(entry: DataEntry, pictures: Sequence[str], others: Sequence[str], columns: Sequence[str]) -> str:
    """Return the column of images.

    pictures: the columns that hold pictures by their type. others: those that could hold them: bytes or paths.

    Raises:
        DataError: there is no such column, or several and it is not clear which one.
    """
    if entry.image:
        return find_column(entry, "image", entry.image, (), columns)
    depth = entry.depth or DEPTH
    typed = [one for one in pictures if one != depth and not NOT_IMAGES & set(re.split(r"[\W_]+", one.lower()))]
    usual = [name for name in IMAGE_NAMES if name in typed]
    if len(usual) == 1 or usual[:1] in (["image"], ["img"]):
        return usual[0]
    if not usual and (named := next((name for name in IMAGE_NAMES if name in others), "")) in {"image", "img"}:
        return named
    if len(typed) == 1:
        return typed[0]
    if typed:
        raise DataError(
            f"data set {entry.name!r}: {', '.join(map(printable, typed))} hold pictures; name the images with ?image="
        )
    return find_column(entry, "image", "", [name for name in IMAGE_NAMES if name in others] or IMAGE_NAMES, columns)
