"""Contrast sets: hard pairs from SugarCrepe, ARO, Winoground, and files of the same form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.captions.captions import texts_in
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.crops import Box, CropReader
from pytest_clip_robust.datasets.entry import DataEntry, refuse_choice
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import distinct_image_set, prepared_folder
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.arrow import Opened, table_images
from pytest_clip_robust.datasets.sources.listings import (
    ImageFinder,
    Record,
    find_listings,
    image_of,
    read_records,
    value_of,
)
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.datasets.sources.rows import Rows, file_rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

TRUE_KEYS = ("true_caption", "positive_caption", "caption")
FALSE_KEYS = ("negatives", "negative_captions", "negative_caption", "false_caption", "false_captions")
KIND_KEYS = ("negative_kinds", "kinds", "kind")
BOX_KEYS = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
TAG_KEYS = ("collapsed_tag", "tag")
WORDS = {
    "replaced": "replace",
    "swapped": "swap",
    "added": "add",
    "obj": "object",
    "att": "attribute",
    "rel": "relation",
}
CHANGES = ("replace", "replaced", "swap", "swapped", "add", "added")
WHOLE_KINDS = ("attribution", "relation", "order")
"""Kinds that are the last word of a file name, such as ``visual_genome_attribution.json``."""

IMAGE, FIRST, SECOND = "image", "image_0", "image_1"


class _Images(Protocol):
    """Numbers the images that records name."""

    def place(self, number: int, record: Record, key: str) -> int:
        """Return the number of the image that record `number` has under `key`."""

    def rows(self) -> Rows:
        """Return all images that were numbered."""


@dataclass(frozen=True, slots=True)
class _Item:
    """The content of a record: an image, its caption, and false captions that differ by one kind of change."""

    image: int
    caption: str
    false: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class _Match:
    """The content of a record: two images and their two captions."""

    images: tuple[int, int]
    captions: tuple[str, str]
    kind: str


def load_contrast_set(entry: DataEntry, *, cache_dir: Path | None = None) -> ContrastSet | MatchSet:
    """Read the pairs that `entry` describes; only images that are cropped are decoded. Equal images are one image.

    Raises:
        DataError: the set cannot be read, an image does not exist, a caption is missing or empty, or a false caption
            is the true one.
    """
    refuse_choice(entry, "pairs")
    listings = find_listings(entry)
    images: _Images
    if listings.paths:
        records, remarks = read_records(listings, entry)
        images = _ListedImages(entry, listings.root, origin=str(listings.paths[0]), remarks=remarks)
    else:
        opened = open_table(entry, prepared_folder(cache_dir))
        records = _table_records(entry, opened.table)
        images = _TableImages(entry, opened)
    if FIRST in records[0].values or FIRST in getattr(images, "columns", ()):
        return _match_set(entry, [_match(i, one, images) for i, one in enumerate(records)], images, cache_dir)
    items = [item for i, one in enumerate(records) for item in _items(i, one, images)]
    return _contrast_set(entry, items, images, cache_dir)


def canonical_kind(text: str) -> str:
    """Return the name that the suites use for a kind of false caption.

    >>> canonical_kind("replaced object"), canonical_kind("swap_att"), canonical_kind("visual_genome_relation")
    ('replace_object', 'swap_attribute', 'relation')
    """
    words = text.strip().lower().replace("-", "_").replace(" ", "_").split("_")
    if words[-1] in WHOLE_KINDS and words[0] not in CHANGES:
        return words[-1]
    return "_".join(WORDS.get(word, word) for word in words)


class _ListedImages:
    """Images of a listing, or crops of them."""

    def __init__(self, entry: DataEntry, root: Path, *, origin: str, remarks: tuple[str, ...]) -> None:
        self._entry, self._origin, self._remarks = entry, origin, remarks
        self._finder = ImageFinder(root)
        self._places: dict[tuple[int, Box | None], int] = {}

    def place(self, _: int, record: Record, key: str) -> int:
        """Return the number of the image, or of its crop if the record has a box."""
        file = (
            record.values.get(self._entry.image or key)
            if self._entry.image or key != IMAGE
            else image_of(record.values)
        )
        part = (self._finder.place(file, record.where), _box(record))
        return self._places.setdefault(part, len(self._places))

    def rows(self) -> Rows:
        """Return the images; those with a box are cropped."""
        whole = file_rows(self._finder.names, self._finder.paths, origin=self._origin)
        whole = replace(whole, remarks=self._remarks)
        sources, boxes = zip(*self._places, strict=True)
        if not any(boxes):
            return whole
        names = [f"{whole.samples[i]}{'' if box is None else list(box)}" for i, box in self._places]
        stamps = [None if whole.stamps[i] is None else f"{whole.stamps[i]}|{box}" for i, box in self._places]
        return replace(
            whole,
            read=CropReader(whole.read, sources, boxes),
            samples=names,
            stamps=stamps,
            labels=[""] * len(names),
            origin=f"{whole.origin}|parts",
        )


class _TableImages:
    """Images in one column of a table, or in two columns."""

    def __init__(self, entry: DataEntry, opened: Opened) -> None:
        self.columns = [column for column in (FIRST, SECOND) if column in opened.table.features] or [entry.image]
        self._tables = [table_images(entry, opened, column=column) for column in self.columns]
        self._size = len(opened.table)

    def place(self, number: int, _: Record, key: str) -> int:
        """Return the number of the row's image in the column `key`."""
        return number + self._size * (self.columns.index(key) if key in self.columns else 0)

    def rows(self) -> Rows:
        """Return the images of all columns, one column after the other."""
        first = self._tables[0]
        if len(self._tables) == 1:
            return first
        names = [
            f"{name} ({column})"
            for column, rows in zip(self.columns, self._tables, strict=True)
            for name in rows.samples
        ]
        return replace(
            first,
            read=_Chain([rows.read for rows in self._tables], self._size),
            samples=names,
            stamps=[
                None if stamp is None else f"{column}|{stamp}"
                for column, rows in zip(self.columns, self._tables, strict=True)
                for stamp in rows.stamps
            ],
            labels=[""] * len(names),
            origin="|".join(rows.origin for rows in self._tables),
        )


@dataclass(frozen=True, slots=True)
class _Chain:
    """Reads the images of several readers of `size` images each, one reader after the other."""

    readers: Sequence[ImageReader]
    size: int

    def __call__(self, index: int, /) -> bytes:
        return self.readers[index // self.size](index % self.size)


def _table_records(entry: DataEntry, table: Any) -> list[Record]:
    """Return the rows of a table without their images."""
    known = {*TRUE_KEYS, *FALSE_KEYS, *KIND_KEYS, *TAG_KEYS, "caption_0", "caption_1", "split", entry.caption}
    columns = {name: list(table[name]) for name in table.features if name in known}
    if not columns:
        raise DataError(f"data set {entry.name!r}: no column holds captions; it has {', '.join(table.features)}")
    where = f"data set {entry.name!r}: row"
    return [
        Record({name: column[row] for name, column in columns.items()}, f"{where} {row}", "")
        for row in range(len(table))
    ]


def _items(number: int, record: Record, images: _Images) -> list[_Item]:
    """Return one item per record, or one per false caption if each has its own kind."""
    values, where = record.values, record.where
    (caption,) = texts_in(value_of(values, TRUE_KEYS), f"{where}: the true caption")[:1]
    false = texts_in(value_of(values, FALSE_KEYS), f"{where}: the false caption")
    same = next((text for text in false if text == caption), None)
    if same is not None:
        raise DataError(f"{where}: the false caption {printable(same)!r} is the true one")
    image = images.place(number, record, IMAGE)
    kinds = value_of(values, KIND_KEYS)
    if not isinstance(kinds, list):
        return [_Item(image, caption, tuple(false), canonical_kind(str(kinds or record.part or "all")))]
    if len(kinds) != len(false):
        raise DataError(f"{where}: {len(kinds)} kinds for {len(false)} false captions")
    return [_Item(image, caption, (text,), canonical_kind(str(kind))) for text, kind in zip(false, kinds, strict=True)]


def _match(number: int, record: Record, images: _Images) -> _Match:
    values, where = record.values, record.where
    first, second = (texts_in(values.get(key), f"{where}: {key}")[0] for key in ("caption_0", "caption_1"))
    if first == second:
        raise DataError(f"{where}: both captions are {printable(first)!r}")
    places = (images.place(number, record, FIRST), images.place(number, record, SECOND))
    return _Match(places, (first, second), canonical_kind(str(value_of(values, TAG_KEYS) or "all")))


def _contrast_set(entry: DataEntry, items: list[_Item], images: _Images, cache_dir: Path | None) -> ContrastSet:
    pictures, places = distinct_image_set(entry, images.rows(), cache_dir=cache_dir)
    text_of: dict[str, int] = {}
    true_of = [text_of.setdefault(item.caption, len(text_of)) for item in items]
    false = [(i, text_of.setdefault(text, len(text_of))) for i, item in enumerate(items) for text in item.false]
    columns = {
        "image_of": places[[item.image for item in items]],
        "true_of": np.array(true_of, np.int64),
        "false_items": np.array([i for i, _ in false], np.int64),
        "false_of": np.array([text for _, text in false], np.int64),
    }
    kinds = [item.kind for item in items]
    numbers: dict[tuple[int, str], int] = {}
    samples = []
    for image, kind in zip(columns["image_of"].tolist(), kinds, strict=True):
        numbers[image, kind] = numbers.get((image, kind), -1) + 1
        samples.append(f"{pictures.samples[image]}#{kind}{numbers[image, kind]}")
    return ContrastSet(
        images=pictures,
        texts=list(text_of),
        **columns,
        kinds=kinds,
        samples=samples,
        fingerprint=_fingerprint(pictures, text_of, columns, kinds),
    )


def _match_set(entry: DataEntry, matches: list[_Match], images: _Images, cache_dir: Path | None) -> MatchSet:
    pictures, places = distinct_image_set(entry, images.rows(), cache_dir=cache_dir)
    text_of: dict[str, int] = {}
    texts = [[text_of.setdefault(text, len(text_of)) for text in match.captions] for match in matches]
    columns = {"image_of": places[[match.images for match in matches]], "text_of": np.array(texts, np.int64)}
    kinds = [match.kind for match in matches]
    return MatchSet(
        images=pictures,
        texts=list(text_of),
        **columns,
        kinds=kinds,
        samples=[f"{i}: {match.captions[0]}" for i, match in enumerate(matches)],
        fingerprint=_fingerprint(pictures, text_of, columns, kinds),
    )


def _box(record: Record) -> Box | None:
    if not all(key in record.values for key in BOX_KEYS):
        return None
    try:
        left, upper, width, height = (math.floor(float(record.values[key])) for key in BOX_KEYS)
    except (TypeError, ValueError, OverflowError):
        width = height = 0
    if width < 1 or height < 1:
        raise DataError(f"{record.where}: box {[record.values[key] for key in BOX_KEYS]}; expected x, y, width, height")
    return left, upper, left + width, upper + height


def _fingerprint(images: ImageSet, texts: Mapping[str, int], columns: Mapping[str, Ints], kinds: Sequence[str]) -> str:
    whole = {
        "images": images.fingerprint,
        "texts": list(texts),
        "kinds": kinds,
        **{name: column.tolist() for name, column in columns.items()},
    }
    return digest(whole)
