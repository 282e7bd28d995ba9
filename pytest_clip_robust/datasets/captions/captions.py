"""Caption sets: captioned images from listings, Parquet, webdataset and hub tables."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.entry import DataEntry, refuse_choice
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import distinct_image_set, prepared_folder, unlabelled_image_set
from pytest_clip_robust.datasets.sources.arrow import column_values, table_images
from pytest_clip_robust.datasets.sources.listings import (
    ImageFinder,
    Listings,
    find_listings,
    image_of,
    read_records,
    text_list,
    value_of,
)
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.datasets.sources.rows import Rows, file_rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

CAPTION_KEYS = ("captions", "caption", "sentences", "raw", "comment", "txt", "text", "title", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSet:
    """N images and M captions; an image can have several captions, and a caption several images.

    captions: M texts. pairs: (P, 2) int64, positions of an image and a caption that belong together; every image and
    every caption is in at least one pair.
    fingerprint: hex digest of images, captions and pairs; it identifies the set.
    remarks: lines for the user about the set.
    """

    images: ImageSet
    captions: Sequence[str]
    pairs: Ints
    fingerprint: str
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The set's name."""
        return self.images.name


@dataclass(frozen=True, slots=True)
class _Listed:
    """N images as Rows, and the captions of each."""

    rows: Rows
    captions: list[list[str]]


def load_caption_set(entry: DataEntry, *, cache_dir: Path | None = None) -> CaptionSet:
    """Read the captioned images that `entry` describes, without decoding an image.

    With ``duplicates = "apart"`` a caption that is listed for two images is two captions, one per image, and equal
    images are two images, as in published numbers. With ``"together"`` equal captions are one caption that is true
    of all its images, and equal images are one image with all their captions.

    Raises:
        DataError: the set cannot be read, an image has no caption, a caption has no image, or a caption is empty.
    """
    refuse_choice(entry, "captions")
    listings = find_listings(entry)
    listed = _from_listings(entry, listings) if listings.paths else _from_table(entry, cache_dir)
    owners = np.repeat(np.arange(len(listed.rows)), [len(captions) for captions in listed.captions])
    captions = [caption for of_image in listed.captions for caption in of_image]
    together = entry.duplicates == "together"
    if together:
        images, image_places = distinct_image_set(entry, listed.rows, cache_dir=cache_dir)
        owners = image_places[owners]
        captions, places = _distinct(captions)
    else:
        images = unlabelled_image_set(entry, listed.rows, cache_dir=cache_dir)
        places = np.arange(len(captions))
    pairs = np.unique(np.column_stack([owners, places]), axis=0)
    return CaptionSet(
        images=images,
        captions=captions,
        pairs=pairs,
        fingerprint=digest({"images": images.fingerprint, "captions": captions, "pairs": pairs.tolist()}),
        remarks=images.remarks + (() if together else tuple(_duplicate_remarks(images, captions, owners))),
    )


def texts_in(value: Any, where: str) -> list[str]:
    """Return the captions in a value: a text, a list of texts written as text, or a list of texts or sentence objects.

    Raises:
        DataError: the value has no caption, or an empty one.
    """
    if isinstance(value, dict):
        value = value_of(value, CAPTION_KEYS)
    if isinstance(value, str) and value.startswith("["):
        value = text_list(value)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{where} has no caption")
    texts = [value_of(one, ("raw", "caption")) if isinstance(one, dict) else one for one in listed]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{where}: caption {i} is {text!r}; expected a text")
        if not text.strip():
            raise DataError(f"{where}: caption {i} is empty")
    return [unicodedata.normalize("NFC", text.strip()) for text in texts]


def _from_listings(entry: DataEntry, listings: Listings) -> _Listed:
    finder = ImageFinder(listings.root)
    captions: list[list[str]] = []
    records, remarks = read_records(listings, entry)
    for record in records:
        file = record.values.get(entry.image) if entry.image else image_of(record.values)
        place = finder.place(file, record.where)
        if place == len(captions):
            captions.append([])
        value = value_of(record.values, (entry.caption,) if entry.caption else CAPTION_KEYS)
        captions[place] += texts_in(value, f"{record.where}: image {printable(str(file))}")
    rows = file_rows(finder.names, finder.paths, origin=str(listings.paths[0]))
    return _Listed(replace(rows, remarks=remarks), captions)


def _from_table(entry: DataEntry, cache_dir: Path | None) -> _Listed:
    opened = open_table(entry, prepared_folder(cache_dir))
    table = opened.table
    columns = list(table.features)
    column = entry.caption or next((key for key in CAPTION_KEYS if key in columns), "")
    if column not in columns:
        what = f"no column {column!r}" if column else "no column looks like captions"
        raise DataError(
            f"data set {entry.name!r}: {what}; it has {', '.join(columns)}; name one with ?caption=, "
            "or the listing with ?table="
        )
    rows = table_images(entry, opened)
    values = column_values(table, column)
    if column == "txt":  # in a tar, a file with one caption per line
        values = [text.split("\n") if isinstance(text, str) else text for text in values]
        values = [[line for line in lines if line.strip()] if isinstance(lines, list) else lines for lines in values]
    captions = [
        texts_in(value, f"data set {entry.name!r}: image {printable(sample)}")
        for value, sample in zip(values, rows.samples, strict=True)
    ]
    return _Listed(rows, captions)


def _distinct(values: Sequence[str]) -> tuple[list[str], Ints]:
    """Return the distinct values in order of first occurrence, and the position of each value among them."""
    place = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return list(place), np.array([place[value] for value in values], np.int64)


def _duplicate_remarks(images: ImageSet, captions: Sequence[str], owners: Ints) -> list[str]:
    """Return one line each about equal images and about captions of several images."""
    remarks = []
    first_of: dict[str, int] = {}
    equal = [(i, first_of[one]) for i, one in enumerate(images.digests) if first_of.setdefault(one, i) != i]
    if equal:
        second, first = (images.samples[i] for i in equal[0])
        remarks.append(
            f"{len(equal)} images are equal to another one, such as {second!r} and {first!r}: each counts "
            "separately; duplicates=together counts them as one"
        )
    owners_of: dict[str, set[int]] = {}
    for caption, owner in zip(captions, owners.tolist(), strict=True):
        owners_of.setdefault(caption, set()).add(owner)
    counts = Counter(captions)
    shared = [caption for caption, of in owners_of.items() if len(of) > 1]
    if shared:
        remarks.append(
            f"{sum(counts[caption] for caption in shared)} captions are listed for several images, such as "
            f"{printable(shared[0])!r}: each counts for its own image; duplicates=together counts it for all of them"
        )
    return [f"data set {images.name!r}: {remark}" for remark in remarks]
