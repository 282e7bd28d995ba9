"""Folders of image files: one folder per class, images of one class, and cue conflicts by file name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.cue_names import read_cues
from pytest_clip_robust.datasets.images.depth import SUFFIXES as DEPTH_SUFFIXES
from pytest_clip_robust.datasets.sources.arrow import load_files
from pytest_clip_robust.datasets.sources.rows import (
    IMAGE_SUFFIXES,
    DepthRows,
    FileReader,
    Label,
    Rows,
    file_rows,
    file_stamps,
)
from pytest_clip_robust.errors import DataError


def class_folders(entry: DataEntry, cache_dir: str | None) -> Rows:
    """Read images laid out as CLASS/IMAGE.

    Raises:
        DataError: there is no such folder, or an image is not in a class folder.
    """
    root = Path(entry.location)
    if not root.is_dir():
        raise DataError(f"data set {entry.name!r}: no folder {root}")
    # Naming the files keeps `datasets` from reading a class called "test" as a split.
    found = load_files(entry, "imagefolder", f"{glob.escape(str(root))}/**", cache_dir, drop_labels=False)
    if "label" not in found.features:
        raise DataError(f"data set {entry.name!r}: {root} has no folders of classes; lay images out as CLASS/IMAGE")
    paths = [row["path"] for row in found["image"]]
    stray = next((path for path in paths if Path(path).parent == root), None)
    if stray is not None:
        raise DataError(f"data set {entry.name!r}: {stray} is not in a class folder; lay images out as CLASS/IMAGE")
    samples = [str(Path(path).relative_to(root)) for path in paths]
    rows = file_rows(samples, paths, origin=str(root))
    return replace(
        rows,
        labels=list(found["label"]),
        names=tuple(found.features["label"].names),
        depth=depth_files(entry, samples),
    )


def is_flat(root: Path) -> bool:
    """Return whether images are directly in the folder `root`."""
    return root.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir())


def flat_folder(entry: DataEntry) -> Rows:
    """Read every image of a folder, at any depth, as one class."""
    root = Path(entry.location)
    paths = _images_below(root)
    samples = [str(path.relative_to(root)) for path in paths]
    rows = file_rows(samples, [str(path) for path in paths], origin=str(root))
    return replace(rows, labels=[entry.name] * len(rows), depth=depth_files(entry, samples))


def has_cue_names(root: Path) -> bool:
    """Return whether the first image of the folder is named SHAPE1-TEXTURE2."""
    first = next((path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES), None)
    return first is not None and read_cues(first.name) is not None


def cue_conflicts(entry: DataEntry) -> Rows:
    """Read images named SHAPE1-TEXTURE2, in one folder or in folders of any name.

    Raises:
        DataError: a file has another name.
    """
    root = Path(entry.location)
    paths = _images_below(root)
    shapes: list[Label] = []
    textures: list[Label] = []
    for path in paths:
        cues = read_cues(path.name)
        if cues is None:
            raise DataError(
                f"data set {entry.name!r}: the name of {path} is not of the form SHAPE1-TEXTURE2, "
                "such as airplane1-bicycle2.png"
            )
        shapes.append(cues.shape)
        textures.append(cues.texture)
    rows = file_rows([path.name for path in paths], [str(path) for path in paths], origin=str(root))
    return replace(rows, labels=shapes, textures=textures)


def depth_files(entry: DataEntry, samples: Sequence[str]) -> DepthRows | None:
    """Return the depth map of every image from the folder that the entry names; None if it names none.

    Raises:
        DataError: an image has no depth map there.
    """
    if not entry.depth:
        return None
    folder = Path(entry.depth).expanduser()
    paths = []
    for sample in samples:
        places = [folder / Path(sample).with_suffix(suffix) for suffix in DEPTH_SUFFIXES]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(f"data set {entry.name!r}: no depth map {places[0]} for {sample!r}")
        paths.append(str(found))
    return DepthRows(FileReader(paths), file_stamps(paths))


def _images_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
