"""The size of an image set, from its files and labels; no image is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import annotated, prepared_folder, resolve_labels
from pytest_clip_robust.datasets.sources.reading import read_rows


class Counted(NamedTuple):
    """The numbers of images, of classes to choose from, of classes that have images, and of annotated factors."""

    images: int
    classes: int
    used: int
    factors: int


def count_images(entry: DataEntry, *, cache_dir: Path | None = None, prompted: bool = True) -> Counted:
    """Return the size of a set; `cache_dir` and `prompted` as for `load_image_set`.

    Raises:
        DataError: files, labels or annotations cannot be read or do not fit; the message names them.
    """
    rows = read_rows(entry, prepared_folder(cache_dir), labelled=prompted)
    classes, labels = resolve_labels(entry, rows, prompted=prompted)
    rows, annotations, kept = annotated(entry, rows)
    used = labels if kept is None else labels[kept]
    return Counted(len(rows), len(classes), len(set(used.tolist())), len(annotations))
