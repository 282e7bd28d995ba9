"""From a DataEntry to an ImageSet."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.annotations import read_factor_annotations
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.digests import content_digests
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import ClassList, class_list, named_classes, to_positions
from pytest_clip_robust.datasets.images.reader import TakenReader
from pytest_clip_robust.datasets.sources.reading import Label, Rows, read_rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

WORDNET_ID = re.compile(r"n\d{8}")


def load_image_set(entry: DataEntry, *, cache_dir: Path | None = None, prompted: bool = True) -> ImageSet:
    """Read the data set that `entry` describes: every image's digest and label, no image decoded.

    `cache_dir` keeps what `datasets` prepares and the digests of unchanged images; None leaves `datasets` its own
    folder and remembers no digest. `prompted` is False for sets whose classes never go into prompts, such as OOD sets:
    their names may be numbers or WordNet ids, and without any label they are one class.

    Raises:
        DataError: the set cannot be read; the message names the set, and the file or row.
    """
    rows = read_rows(entry, None if cache_dir is None else str(cache_dir / "prepared"), labelled=prompted)
    classes, labels = _understand(entry, rows, prompted=prompted)
    textures = _textures(entry, rows, classes)
    kept, annotations = _annotate(entry, rows)
    labels, textures = labels[kept], None if textures is None else textures[kept]
    if entry.subset == "present":
        present = np.unique(np.concatenate([labels] if textures is None else [labels, textures]))
        labels = np.searchsorted(present, labels)
        textures = None if textures is None else np.searchsorted(present, textures)
        classes = classes.keep(present)
    read = rows.read if len(kept) == len(rows.samples) else TakenReader(rows.read, kept)
    samples = [printable(rows.samples[i]) for i in kept]
    try:
        digests = content_digests(
            read, [rows.stamps[i] for i in kept], samples, memory=digest_memory(cache_dir, rows.origin)
        )
    except DataError as error:
        raise DataError(f"data set {entry.name!r}: {error}") from error
    return ImageSet(
        name=entry.name,
        read=read,
        samples=samples,
        digests=digests,
        labels=labels.astype(np.int64),
        class_names=classes.names,
        class_ids=classes.ids,
        fingerprint=_fingerprint(digests, labels, classes, annotations, textures, crop_border=entry.crop_border),
        annotations=annotations,
        textures=textures,
        synonyms=classes.synonyms,
        crop_border=entry.crop_border,
        licence=entry.licence,
        depths=_depths(rows, kept, samples, cache_dir),
    )


def bare_image_set(entry: DataEntry, rows: Rows, *, cache_dir: Path | None) -> ImageSet:
    """Make the images of `rows` a set of one class, for whatever needs no labels.

    Raises:
        DataError: an image cannot be read.
    """
    samples = [printable(sample) for sample in rows.samples]
    try:
        digests = content_digests(rows.read, rows.stamps, samples, memory=digest_memory(cache_dir, rows.origin))
    except DataError as error:
        raise DataError(f"data set {entry.name!r}: {error}") from error
    labels = np.zeros(len(digests), np.int64)
    return ImageSet(
        name=entry.name,
        read=rows.read,
        samples=samples,
        digests=digests,
        labels=labels,
        class_names=(entry.name,),
        class_ids=(entry.name,),
        fingerprint=_bare_fingerprint(digests, entry.crop_border),
        crop_border=entry.crop_border,
        licence=entry.licence,
    )


def part_of(images: ImageSet, positions: NDArray[np.int64]) -> ImageSet:
    """Keep the images at `positions` of a set of one class, in that order."""
    digests = [images.digests[i] for i in positions.tolist()]
    return replace(
        images,
        read=TakenReader(images.read, positions),
        samples=[images.samples[i] for i in positions.tolist()],
        digests=digests,
        labels=images.labels[positions],
        fingerprint=_bare_fingerprint(digests, images.crop_border),
    )


def digest_memory(cache_dir: Path | None, origin: str) -> Path | None:
    """Return the file where digests of the files of `origin` are kept, if anything is."""
    if cache_dir is None:
        return None
    return cache_dir / "digests" / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"


def _bare_fingerprint(digests: list[str], crop_border: int) -> str:
    return hashlib.sha256(json.dumps({"images": digests, "crop_border": crop_border}).encode()).hexdigest()


def _depths(rows: Rows, kept: NDArray[np.int64], samples: list[str], cache_dir: Path | None) -> Depths | None:
    if rows.depth is None:
        return None
    read, stamps = rows.depth
    return Depths(
        read=TakenReader(read, kept),
        stamps=[stamps[i] for i in kept],
        samples=samples,
        memory=digest_memory(cache_dir, f"{rows.origin}|depth"),
        intrinsics=None if rows.intrinsics is None else rows.intrinsics[kept],
    )


def _understand(entry: DataEntry, rows: Rows, *, prompted: bool) -> tuple[ClassList, NDArray[np.int64]]:
    """Give every label its place in the entry's class list, or else in the set's own."""

    def where(row: int) -> str:
        return f"data set {entry.name!r}: image {printable(rows.samples[row])!r}"

    source = f"data set {entry.name!r}"
    if entry.classes:
        given = entry.classes
        classes = class_list(given) if isinstance(given, str) else named_classes(given, source=source)
        return classes, to_positions(_in_words(rows, classes), classes, where)
    if rows.names is not None:
        if prompted:
            _check_words(rows.names, entry)
        classes = named_classes(rows.names, source=source)
        return classes, to_positions(rows.labels, classes, where)
    if prompted and not all(isinstance(label, str) for label in rows.labels):
        raise DataError(f"{source}: its labels are numbers without names; name them with ?classes=FILE")
    names = sorted({str(label) for label in [*rows.labels, *(rows.textures or ())]})
    if prompted:
        _check_words(names, entry)
    classes = named_classes(names, source=source)
    place = {name: i for i, name in enumerate(names)}
    return classes, np.array([place[str(label)] for label in rows.labels], dtype=np.int64)


def _textures(entry: DataEntry, rows: Rows, classes: ClassList) -> NDArray[np.int64] | None:
    if rows.textures is None:
        return None

    def where(row: int) -> str:
        return f"data set {entry.name!r}: texture of image {printable(rows.samples[row])!r}"

    return to_positions(rows.textures, classes, where)


def _in_words(rows: Rows, classes: ClassList) -> list[Label]:
    """Turn positions in the set's own names into those names, unless both lists are in the same order anyway.

    Hub copies of ImageNet have all of WordNet's synonyms for a name, which our list does not know; the names that it
    does know prove the order.
    """
    if rows.names is None:
        return rows.labels
    if len(rows.names) == len(classes):
        known = {i: found for i, name in enumerate(rows.names) if (found := classes.find(name)) is not None}
        if known and len(known) < len(classes) and all(i == found for i, found in known.items()):
            return rows.labels
    return [rows.names[label] if isinstance(label, int) else label for label in rows.labels]


def _check_words(names: tuple[str, ...] | list[str], entry: DataEntry) -> None:
    """Refuse class names that no prompt can use: "a photo of a 17." measures nothing."""
    for what, is_one, way_out in (
        ("numbers", str.isdecimal, "classes=FILE"),
        ("WordNet ids", WORDNET_ID.fullmatch, "classes=imagenet-1k"),
    ):
        check: Callable[[str], object] = is_one
        if all(check(name) for name in names):
            raise DataError(
                f"data set {entry.name!r}: its class names are {what} ({', '.join(names[:3])}), "
                f"which make no prompts; add ?{way_out}"
            )


def _annotate(entry: DataEntry, rows: Rows) -> tuple[NDArray[np.int64], dict[str, NDArray[np.bool_]]]:
    """Return which rows stay, and their annotations."""
    if not entry.annotations:
        return np.arange(len(rows.samples)), dict(rows.annotations)
    beside = Path(entry.location) / entry.annotations
    path = beside if beside.is_file() else Path(entry.annotations).expanduser()
    annotations = read_factor_annotations(path, entry.factors)
    return annotations.join(rows.samples, name=f"data set {entry.name!r}")


def _fingerprint(
    digests: list[str],
    labels: NDArray[np.int64],
    classes: ClassList,
    annotations: dict[str, NDArray[np.bool_]],
    textures: NDArray[np.int64] | None,
    *,
    crop_border: int,
) -> str:
    whole = {
        "images": digests,
        "labels": labels.tolist(),
        "classes": [classes.ids, classes.names],
        "annotations": {name: np.packbits(column).tobytes().hex() for name, column in sorted(annotations.items())},
        "crop_border": crop_border,
    }
    if textures is not None:
        whole["textures"] = textures.tolist()
    if classes.synonyms:
        whole["synonyms"] = classes.synonyms
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
