"""Loading of image sets: from a DataEntry to an ImageSet, without decoding an image."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.annotations import read_factor_annotations
from pytest_clip_robust.datasets.images.choice import take_evenly
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.digests import content_digests
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import (
    ClassList,
    canonical,
    check_prompts,
    entry_classes,
    named_classes,
    resolve_names,
    to_positions,
)
from pytest_clip_robust.datasets.sources.reading import read_rows
from pytest_clip_robust.datasets.sources.rows import Label, Rows
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.files import is_file, user_path
from pytest_clip_robust.system.text import printable

WORDNET_ID = re.compile(r"n\d{8}")


def load_image_set(entry: DataEntry, *, cache_dir: Path | None = None, prompted: bool = True) -> ImageSet:
    """Read the data set that `entry` describes: every image's digest and label.

    With ``images = N``, the set is the N images at `even_positions`.

    `cache_dir` keeps the files that `datasets` prepares and the digests of unchanged images; None lets `datasets` use
    its own folder and remembers no digest. `prompted` is False for sets whose classes never go into prompts, such as
    OOD sets: their names can be numbers or WordNet ids, and without labels they are one class.

    Raises:
        DataError: the set cannot be read; the message names the set, and the file or row.
    """
    rows = read_rows(entry, prepared_folder(cache_dir), labelled=prompted)
    classes, labels = resolve_labels(entry, rows, prompted=prompted)
    textures = _resolve_textures(entry, rows, classes)
    rows, annotations, kept = annotated(entry, rows)
    if kept is not None:
        labels, textures = labels[kept], None if textures is None else textures[kept]
    left = classes_left(entry, classes, rows.left_out)
    if entry.subset == "present":
        used = labels if textures is None else np.concatenate([labels, textures])
        left = np.intersect1d(left, used)
    if len(left) < len(classes):
        kept = np.flatnonzero(np.isin(labels, left) & (True if textures is None else np.isin(textures, left)))
        rows, annotations = rows.take(kept), {name: column[kept] for name, column in annotations.items()}
        labels = np.searchsorted(left, labels[kept])
        textures = None if textures is None else np.searchsorted(left, textures[kept])
        if not len(kept):
            raise DataError(f"data set {entry.name!r}: exclude leaves out all of its images")
        classes = classes.keep(left)
    samples = [printable(sample) for sample in rows.samples]
    digests = row_digests(entry, rows, cache_dir)
    images = ImageSet(
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
        remarks=(
            *rows.remarks,
            *_counted_from_one(entry, rows, classes),
            *(check_prompts(classes, given=bool(entry.classes)) if prompted else ()),
        ),
    )
    return take_evenly(images, entry.images)


def classes_left(entry: DataEntry, classes: ClassList, left_out: Collection[str] = ()) -> Ints:
    """Return the positions of the classes that the entry does not exclude; `left_out` names some that are gone already.

    Raises:
        DataError: there is no class of an excluded name.
    """
    excluded = []
    for name in map(canonical, entry.exclude):
        place = classes.find(name)
        if place is not None:
            excluded.append(place)
        elif name not in left_out:
            near = did_you_mean(name, {*classes.ids, *classes.names})
            raise DataError(f"data set {entry.name!r}: exclude has {printable(name)!r}, but it has no such class{near}")
    return np.setdiff1d(np.arange(len(classes)), excluded)


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
        remarks=rows.remarks,
    )


def resolve_labels(entry: DataEntry, rows: Rows, *, prompted: bool) -> tuple[ClassList, Ints]:
    """Return the entry's class list, or otherwise the set's own, and the position of every label in it."""

    def where(row: int) -> str:
        return f"data set {entry.name!r}: image {printable(rows.samples[row])!r}"

    source = f"data set {entry.name!r}"
    classes = entry_classes(entry)
    if classes is not None:
        return classes, to_positions(_own_names_resolved(rows, classes), classes, where)
    if rows.names is None and prompted and not all(isinstance(label, str) for label in rows.labels):
        raise DataError(f"{source}: its labels are numbers without names; name them with ?classes=FILE")
    if rows.names is not None and not all(isinstance(label, str) for label in rows.labels):
        names = rows.names
        labels = to_positions(rows.labels, named_classes(names, source=source), where)
    else:
        of_rows = [canonical(str(label)) for label in [*rows.labels, *(rows.textures or ())]]
        names = tuple(sorted({*of_rows, *map(canonical, rows.names or ())}))
        place = {name: i for i, name in enumerate(names)}
        labels = np.array([place[label] for label in of_rows[: len(rows)]], dtype=np.int64)
    if prompted:
        _check_words(names, entry)
    return named_classes(names, source=source), labels


def _own_names_resolved(rows: Rows, classes: ClassList) -> list[Label]:
    """Return labels that are positions in the set's own names as positions in `classes`, or as names not in it."""
    if rows.names is None or all(isinstance(label, str) for label in rows.labels):
        return rows.labels
    found = resolve_names(rows.names, classes)

    def resolved(label: Label) -> Label:
        if isinstance(label, str):
            return label
        places = found[label]
        return places[0] if len(places) == 1 else rows.names[label] if rows.names else label

    return [resolved(label) for label in rows.labels]


def _counted_from_one(entry: DataEntry, rows: Rows, classes: ClassList) -> list[str]:
    """Return a line for the user if labels without names are the numbers 1, 2, and so on, as positions from 0."""
    distinct = set(rows.labels)
    if not entry.classes or not all(str(label).isdecimal() for label in distinct):
        return []
    if rows.names is not None and not all(isinstance(label, str) for label in distinct):
        return []  # positions in the set's own names
    used = sorted(int(label) for label in distinct)
    if used != list(range(1, len(used) + 1)) or "1" in classes.ids:
        return []
    counted = f"the numbers 1 to {used[-1]}, and 0 means {printable(classes.names[0])!r}"
    return [f"data set {entry.name!r}: its labels are {counted}: if they count from 1, all are wrong"]


def _resolve_textures(entry: DataEntry, rows: Rows, classes: ClassList) -> Ints | None:
    if rows.textures is None:
        return None

    def where(row: int) -> str:
        return f"data set {entry.name!r}: texture of image {printable(rows.samples[row])!r}"

    return to_positions(rows.textures, classes, where)


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


def annotated(entry: DataEntry, rows: Rows) -> tuple[Rows, dict[str, NDArray[np.bool_]], Ints | None]:
    """Return the annotated rows, their annotations, and their positions; None for all rows."""
    if not entry.annotations:
        return rows, dict(rows.annotations), None
    in_folder = Path(entry.location) / entry.annotations
    path = in_folder if is_file(in_folder) else user_path(entry.annotations)
    annotations = read_factor_annotations(path, entry.factors)
    kept, columns = annotations.join(rows.samples, name=f"data set {entry.name!r}")
    return rows.take(kept), columns, kept


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
