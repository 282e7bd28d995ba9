"""Loading of keypoint sets: objects with named points in published layouts or as a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointRows, KeypointSet
from pytest_clip_robust.datasets.correspondence.layouts.files import Layout, read_layout
from pytest_clip_robust.datasets.correspondence.layouts.keypoint_table import read_keypoint_table
from pytest_clip_robust.datasets.correspondence.layouts.spair import is_spair, read_spair
from pytest_clip_robust.datasets.correspondence.pairing import class_pairs
from pytest_clip_robust.datasets.correspondence.pictures import picture_sizes
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import canonical, named_classes
from pytest_clip_robust.datasets.images.loading import classes_left, unlabelled_image_set
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

MARGIN = 0.02
"""How far outside the image a keypoint can be, as a share of the longer side: annotators are not exact."""

UNKNOWN_VIEWPOINT = -1

LAYOUTS: dict[str, Layout[KeypointRows]] = {"spair": Layout(is_spair, read_spair)}


def load_keypoint_set(entry: DataEntry, *, cache_dir: Path | None = None) -> KeypointSet:
    """Read the keypoints that `entry` describes: every digest and point, without decoding an image.

    Raises:
        DataError: the set cannot be read, a keypoint is outside its image, a box is invalid, or a class has no two
            images to compare; the message names the set, and the image.
    """
    found = read_layout(entry, LAYOUTS, read_keypoint_table, "keypoints", cache_dir=cache_dir)
    if entry.exclude:
        found = _without_excluded(entry, found)
    samples = [printable(sample) for sample in found.pictures.samples]
    labels = [printable(str(label)) for label in found.pictures.labels]
    found = replace(found, pictures=replace(found.pictures, samples=samples))
    _check(entry, found)
    if not any(found.points):
        raise DataError(f"data set {entry.name!r}: no image has a visible keypoint")
    classes = sorted(set(labels))
    positions = np.array([classes.index(label) for label in labels], np.int64)
    points = _table(found, labels)
    pairs = found.pairs
    if pairs is None:
        pairs = class_pairs(positions, found.instances, ~np.isnan(points[..., 0]))
        _check_classes(entry, pairs, positions, classes)
    viewpoints = np.full(len(pairs), UNKNOWN_VIEWPOINT) if found.viewpoints is None else found.viewpoints
    images = _labelled(unlabelled_image_set(entry, found.pictures, cache_dir=cache_dir), positions, classes)
    boxes = found.boxes.astype(np.float32)
    return KeypointSet(
        images=images,
        points=points,
        boxes=boxes,
        pairs=pairs.astype(np.int64),
        viewpoints=viewpoints.astype(np.int64),
        fingerprint=_fingerprint(images, points=points, boxes=boxes, pairs=pairs, viewpoints=viewpoints),
    )


def _without_excluded(entry: DataEntry, found: KeypointRows) -> KeypointRows:
    of_rows = [canonical(str(label)) for label in found.pictures.labels]
    classes = named_classes(sorted(set(of_rows)), source=f"data set {entry.name!r}")
    kept = {classes.ids[i] for i in classes_left(entry, classes).tolist()}
    rows = np.flatnonzero([label in kept for label in of_rows])
    if not len(rows):
        raise DataError(f"data set {entry.name!r}: exclude leaves out all of its images")
    return found.take(rows)


def _check(entry: DataEntry, found: KeypointRows) -> None:
    samples = found.pictures.samples
    sizes = picture_sizes(found.pictures.read, samples, f"data set {entry.name!r}: image")
    for view, (sample, (width, height)) in enumerate(zip(samples, sizes, strict=True)):
        where = f"data set {entry.name!r}: image {sample!r}"
        margin = MARGIN * max(width, height)
        for name, (x, y) in found.points[view].items():
            if not (-margin <= x <= width + margin and -margin <= y <= height + margin):
                raise DataError(
                    f"{where}: keypoint {printable(name)!r} at ({x:g}, {y:g}) is outside its {width}x{height} pixels"
                )
        left, top, right, bottom = found.boxes[view].tolist()
        if not (left < right and top < bottom):
            raise DataError(
                f"{where}: box ({left:g}, {top:g}, {right:g}, {bottom:g}); expected left < right and top < bottom"
            )


def _check_classes(entry: DataEntry, pairs: Ints, positions: Ints, classes: Sequence[str]) -> None:
    paired = set(positions[pairs[:, 0]].tolist())
    single = next((label for place, label in enumerate(classes) if place not in paired), None)
    if single is not None:
        raise DataError(
            f"data set {entry.name!r}: class {single!r} has no two images of different objects with a keypoint in "
            "common: add some, or leave the class out"
        )


def _table(found: KeypointRows, labels: Sequence[str]) -> NDArray[np.float32]:
    """Return the (V, K, 2) points; the names of a class are in order of first occurrence."""
    places: dict[str, dict[str, int]] = {}
    for label, points in zip(labels, found.points, strict=True):
        of_class = places.setdefault(label, {})
        for name in points:
            of_class.setdefault(name, len(of_class))
    table = np.full((len(labels), max(map(len, places.values())), 2), np.nan, np.float32)
    for view, (label, points) in enumerate(zip(labels, found.points, strict=True)):
        for name, point in points.items():
            table[view, places[label][name]] = point
    return table


def _labelled(images: ImageSet, labels: Ints, classes: Sequence[str]) -> ImageSet:
    # Baselines hold this fingerprint, so its keys keep their order.
    whole = json.dumps({"images": images.fingerprint, "labels": labels.tolist(), "classes": list(classes)})
    return replace(
        images,
        labels=labels,
        class_names=tuple(classes),
        class_ids=tuple(classes),
        fingerprint=hashlib.sha256(whole.encode()).hexdigest(),
    )


def _fingerprint(images: ImageSet, **columns: NDArray[np.generic]) -> str:
    return digest({"images": images.fingerprint} | {name: column.tolist() for name, column in columns.items()})
