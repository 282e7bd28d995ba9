"""From a DataEntry to a CaptionSet: listings beside images, Parquet, webdataset and hub tables."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import bare_image_set, part_of
from pytest_clip_robust.datasets.sources.listings import ImageFinder, find_listings, image_of, read_records, value_of
from pytest_clip_robust.datasets.sources.reading import Rows, file_rows, open_table, table_images
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

CAPTION_KEYS = ("captions", "caption", "sentences", "raw", "comment", "txt", "text", "title", "json")


@dataclass(frozen=True, slots=True)
class _Listed:
    """N images as Rows, and the captions of each."""

    rows: Rows
    captions: list[list[str]]


def load_caption_set(entry: DataEntry, *, cache_dir: Path | None = None) -> CaptionSet:
    """Read the captioned images that `entry` describes, no image decoded.

    Under ``duplicates = "apart"`` a caption that is listed for two images is two captions, each of its own image, and
    equal pictures are two images, as in the published numbers; under ``"together"`` equal captions are one, true of
    all its images, and equal pictures are one with all their captions.

    Raises:
        DataError: the set cannot be read, an image has no caption, a caption no image, or a caption is empty.
    """
    root, listings = find_listings(entry)
    listed = _from_listings(entry, root, listings) if listings else _from_table(entry, cache_dir)
    images = bare_image_set(entry, listed.rows, cache_dir=cache_dir)
    owners = np.repeat(np.arange(len(images)), [len(captions) for captions in listed.captions])
    captions = [caption for of_image in listed.captions for caption in of_image]
    together = entry.duplicates == "together"
    if together:
        images, owners = _merge_images(images, owners)
        captions, places = _merge(captions)
    else:
        places = np.arange(len(captions))
    pairs = np.unique(np.column_stack([owners, places]), axis=0)
    return CaptionSet(
        images=images,
        captions=captions,
        pairs=pairs,
        fingerprint=_fingerprint(images, captions, pairs),
        remarks=() if together else tuple(_remarks(images, captions, owners)),
    )


def texts_in(value: Any, where: str) -> list[str]:
    """Return the captions that a value holds: a text, a JSON list of texts, a list of texts or of sentences.

    Raises:
        DataError: there is none, or one is empty.
    """
    if isinstance(value, dict):
        value = value_of(value, CAPTION_KEYS)
    if isinstance(value, str) and value.startswith("["):
        value = _json_list(value)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{where} has no caption")
    texts = [value_of(one, ("raw", "caption")) if isinstance(one, dict) else one for one in listed]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{where}: caption {i} is {text!r}; expected a text")
        if not text.strip():
            raise DataError(f"{where}: caption {i} is empty")
    return [text.strip() for text in texts]


def _from_listings(entry: DataEntry, root: Path, listings: Sequence[Path]) -> _Listed:
    finder = ImageFinder(root)
    captions: list[list[str]] = []
    for record in read_records(listings, name=entry.name, split=entry.split):
        file = record.values.get(entry.image) if entry.image else image_of(record.values)
        place = finder.place(file, record.where)
        if place == len(captions):
            captions.append([])
        value = value_of(record.values, (entry.caption,) if entry.caption else CAPTION_KEYS)
        captions[place] += texts_in(value, f"{record.where}: image {printable(str(file))}")
    return _Listed(file_rows(finder.names, finder.paths, origin=str(listings[0])), captions)


def _from_table(entry: DataEntry, cache_dir: Path | None) -> _Listed:
    found = open_table(entry, None if cache_dir is None else str(cache_dir / "prepared"))
    columns = list(found.features)
    column = entry.caption or next((key for key in CAPTION_KEYS if key in columns), "")
    if column not in columns:
        what = f"no column {column!r}" if column else "no column looks like captions"
        raise DataError(
            f"data set {entry.name!r}: {what}; it has {', '.join(columns)}; name one with ?caption=, "
            "or the listing with ?table="
        )
    rows = table_images(entry, found)
    values = list(found[column])
    if column == "txt":  # a file of lines beside each image of a tar
        values = [text.splitlines() if isinstance(text, str) else text for text in values]
        values = [[line for line in lines if line.strip()] if isinstance(lines, list) else lines for lines in values]
    captions = [
        texts_in(value, f"data set {entry.name!r}: image {printable(sample)}")
        for value, sample in zip(values, rows.samples, strict=True)
    ]
    return _Listed(rows, captions)


def _json_list(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, list) else text


def _merge(values: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct ones in the order they come, and the place of each."""
    place = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return list(place), np.array([place[value] for value in values], np.int64)


def _merge_images(images: ImageSet, owners: NDArray[np.int64]) -> tuple[ImageSet, NDArray[np.int64]]:
    _, places = _merge(images.digests)
    return part_of(images, np.unique(places, return_index=True)[1]), places[owners]


def _remarks(images: ImageSet, captions: Sequence[str], owners: NDArray[np.int64]) -> list[str]:
    """Say what is there twice."""
    remarks = []
    first_of: dict[str, int] = {}
    twins = [(i, first_of[one]) for i, one in enumerate(images.digests) if first_of.setdefault(one, i) != i]
    if twins:
        twin, first = (images.samples[i] for i in twins[0])
        remarks.append(
            f"{len(twins)} images are the same picture as another, such as {twin!r} and {first!r}: each counts for "
            "itself; duplicates=together makes them one"
        )
    owners_of: dict[str, set[int]] = {}
    for caption, owner in zip(captions, owners.tolist(), strict=True):
        owners_of.setdefault(caption, set()).add(owner)
    counts = Counter(captions)
    shared = [caption for caption, of in owners_of.items() if len(of) > 1]
    if shared:
        remarks.append(
            f"{sum(counts[caption] for caption in shared)} captions are listed for several images, such as "
            f"{printable(shared[0])!r}: each counts for its own image; duplicates=together lets it count for all"
        )
    return [f"data set {images.name!r}: {remark}" for remark in remarks]


def _fingerprint(images: ImageSet, captions: Sequence[str], pairs: NDArray[np.int64]) -> str:
    whole = {"images": images.fingerprint, "captions": list(captions), "pairs": pairs.tolist()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSet:
    """N images and M captions, any number of captions an image and images a caption.

    captions: M texts. pairs: (P, 2) int64, positions of an image and a caption that belong together; every image and
    every caption is in at least one.
    fingerprint: hex digest of images, captions and pairs; a set with another one is another set.
    remarks: one line on whatever about the set is worth saying once.
    """

    images: ImageSet
    captions: Sequence[str]
    pairs: NDArray[np.int64]
    fingerprint: str
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name
