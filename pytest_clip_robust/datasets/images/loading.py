"""Loading of image sets: from a DataEntry to an ImageSet, without decoding an image."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.annotations import read_factor_annotations
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.digests import content_digests
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import ClassList, class_list, named_classes, to_positions
from pytest_clip_robust.datasets.sources.reading import read_rows
from pytest_clip_robust.datasets.sources.rows import Label, Rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

WORDNET_ID = re.compile(r"n\d{8}")


def load_image_set(entry: DataEntry, *, cache_dir: Path | None = None, prompted: bool = True) -> ImageSet:
    """Read the data set that `entry` describes: every image's digest and label.

    `cache_dir` keeps the files that `datasets` prepares and the digests of unchanged images; None lets `datasets` use
    its own folder and remembers no digest. `prompted` is False for sets whose classes never go into prompts, such as
    OOD sets: their names can be numbers or WordNet ids, and without labels they are one class.

    Raises:
        DataError: the set cannot be read; the message names the set, and the file or row.
    """
    rows = read_rows(entry, prepared_folder(cache_dir), labelled=prompted)
    classes, labels = _resolve_labels(entry, rows, prompted=prompted)
    textures = _resolve_textures(entry, rows, classes)
    annotated = _annotated(entry, rows)
    if annotated is not None:
        positions, annotations = annotated
        rows, labels = rows.take(positions), labels[positions]
        textures = None if textures is None else textures[positions]
    else:
        annotations = dict(rows.annotations)
    if entry.subset == "present":
        present = np.unique(np.concatenate([labels] if textures is None else [labels, textures]))
        labels = np.searchsorted(present, labels)
        textures = None if textures is None else np.searchsorted(present, textures)
        classes = classes.keep(present)
    samples = [printable(sample) for sample in rows.samples]
    digests = row_digests(entry, rows, cache_dir)
    return ImageSet(
        name=entry.name,
        read=rows.read,
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
        depths=_depths(rows, samples, cache_dir),
    )


def unlabelled_image_set(entry: DataEntry, rows: Rows, *, cache_dir: Path | None) -> ImageSet:
    """Return the images of `rows` as a set of one class.

    Raises:
        DataError: an image cannot be read.
    """
    return _unlabelled(entry, rows, row_digests(entry, rows, cache_dir))


def distinct_image_set(entry: DataEntry, rows: Rows, *, cache_dir: Path | None) -> tuple[ImageSet, Ints]:
    """Return the distinct images of `rows` as a set of one class, and the (N,) position of every row in it.

    Raises:
        DataError: an image cannot be read.
    """
    digests = row_digests(entry, rows, cache_dir)
    place = {one: i for i, one in enumerate(dict.fromkeys(digests))}
    places = np.array([place[one] for one in digests], np.int64)
    first = np.unique(places, return_index=True)[1]
    return _unlabelled(entry, rows.take(first), list(place)), places


def row_digests(entry: DataEntry, rows: Rows, cache_dir: Path | None) -> list[str]:
    """Return the SHA-256 of every row's image.

    Raises:
        DataError: an image cannot be read; the message names the set and the image.
    """
    samples = [printable(sample) for sample in rows.samples]
    try:
        return content_digests(rows.read, rows.stamps, samples, memory=_digest_memory(cache_dir, rows.origin))
    except DataError as error:
        raise DataError(f"data set {entry.name!r}: {error}") from error


def _depths(rows: Rows, samples: list[str], cache_dir: Path | None) -> Depths | None:
    if rows.depth is None:
        return None
    return Depths(
        read=rows.depth.read,
        stamps=rows.depth.stamps,
        samples=samples,
        memory=depth_memory(cache_dir, rows.origin),
        intrinsics=rows.intrinsics,
    )


def prepared_folder(cache_dir: Path | None) -> str | None:
    """Return the folder in which `datasets` prepares files; None for its own."""
    return None if cache_dir is None else str(cache_dir / "prepared")


def depth_memory(cache_dir: Path | None, origin: str) -> Path | None:
    """Return the file in which digests of the depth maps of `origin` are remembered."""
    return _digest_memory(cache_dir, f"{origin}|depth")


def _digest_memory(cache_dir: Path | None, origin: str) -> Path | None:
    """Return the file in which digests of the images of `origin` are remembered."""
    if cache_dir is None:
        return None
    return cache_dir / "digests" / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"


def _unlabelled(entry: DataEntry, rows: Rows, digests: list[str]) -> ImageSet:
    # Baselines hold this fingerprint, so its keys keep their order.
    whole = json.dumps({"images": digests, "crop_border": entry.crop_border})
    return ImageSet(
        name=entry.name,
        read=rows.read,
        samples=[printable(sample) for sample in rows.samples],
        digests=digests,
        labels=np.zeros(len(digests), np.int64),
        class_names=(entry.name,),
        class_ids=(entry.name,),
        fingerprint=hashlib.sha256(whole.encode()).hexdigest(),
        crop_border=entry.crop_border,
        licence=entry.licence,
    )


def _resolve_labels(entry: DataEntry, rows: Rows, *, prompted: bool) -> tuple[ClassList, Ints]:
    """Return the entry's class list, or otherwise the set's own, and the position of every label in it."""

    def where(row: int) -> str:
        return f"data set {entry.name!r}: image {printable(rows.samples[row])!r}"

    source = f"data set {entry.name!r}"
    if entry.classes:
        given = entry.classes
        classes = class_list(given) if isinstance(given, str) else named_classes(given, source=source)
        return classes, to_positions(_label_names(rows, classes), classes, where)
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


def _resolve_textures(entry: DataEntry, rows: Rows, classes: ClassList) -> Ints | None:
    if rows.textures is None:
        return None

    def where(row: int) -> str:
        return f"data set {entry.name!r}: texture of image {printable(rows.samples[row])!r}"

    return to_positions(rows.textures, classes, where)


def _label_names(rows: Rows, classes: ClassList) -> list[Label]:
    """Return labels as names instead of positions in the set's own names, unless both lists have the same order.

    Hub copies of ImageNet name a class by all of WordNet's synonyms, which our list does not have; the names that it
    does have show whether the order is the same.
    """
    if rows.names is None:
        return rows.labels
    if len(rows.names) == len(classes):
        known = {i: found for i, name in enumerate(rows.names) if (found := classes.find(name)) is not None}
        if known and len(known) < len(classes) and all(i == found for i, found in known.items()):
            return rows.labels
    return [rows.names[label] if isinstance(label, int) else label for label in rows.labels]


def _check_words(names: tuple[str, ...] | list[str], entry: DataEntry) -> None:
    """Refuse class names that cannot be used in a prompt: "a photo of a 17." measures nothing."""
    for what, matches, way_out in (
        ("numbers", str.isdecimal, "classes=FILE"),
        ("WordNet ids", WORDNET_ID.fullmatch, "classes=imagenet-1k"),
    ):
        check: Callable[[str], object] = matches
        if all(check(name) for name in names):
            raise DataError(
                f"data set {entry.name!r}: its class names are {what} ({', '.join(names[:3])}), "
                f"which cannot be used in prompts; add ?{way_out}"
            )


def _annotated(entry: DataEntry, rows: Rows) -> tuple[Ints, dict[str, NDArray[np.bool_]]] | None:
    """Return the positions of the annotated rows and their annotations; None if the entry names no annotations."""
    if not entry.annotations:
        return None
    in_folder = Path(entry.location) / entry.annotations
    path = in_folder if in_folder.is_file() else Path(entry.annotations).expanduser()
    annotations = read_factor_annotations(path, entry.factors)
    return annotations.join(rows.samples, name=f"data set {entry.name!r}")


def _fingerprint(
    digests: list[str],
    labels: Ints,
    classes: ClassList,
    annotations: Mapping[str, NDArray[np.bool_]],
    textures: Ints | None,
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
    return digest(whole)
