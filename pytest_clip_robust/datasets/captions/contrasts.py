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
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.crops import Box, CropReader
from pytest_clip_robust.datasets.captions.pair_records import (
    CaptionPair,
    HardPair,
    caption_columns,
    caption_pair,
    hard_pairs,
    image_keys,
)
from pytest_clip_robust.datasets.captions.spatial import check_scenes
from pytest_clip_robust.datasets.entry import DataEntry, refuse_choice
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import distinct_image_set, prepared_folder
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.arrow import Opened, column_values, table_images
from pytest_clip_robust.datasets.sources.listings import ImageFinder, Record, find_listings, image_of, read_records
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.datasets.sources.rows import Rows, file_rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import WHATSUP_SET
from pytest_clip_robust.system.text import printable

BOX_KEYS = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
IMAGE = "image"


class _Images(Protocol):
    """Numbers the images that records name."""

    def place(self, number: int, record: Record, key: str) -> int:
        """Return the number of the image that record `number` has under `key`."""

    def rows(self) -> Rows:
        """Return all images that were numbered."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A hard pair with the position of its image, and the place of its record for messages."""

    image: int
    pair: HardPair
    where: str


@dataclass(frozen=True, slots=True)
class _Match:
    """Two captions with the positions of their images."""

    images: tuple[int, int]
    pair: CaptionPair


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
    keys = image_keys({*records[0].values, *getattr(images, "columns", ())})
    if keys is not None:
        return _match_set(entry, [_match(i, one, images, keys) for i, one in enumerate(records)], images, cache_dir)
    items = [item for i, one in enumerate(records) for item in _items(i, one, images)]
    return _contrast_set(entry, items, images, cache_dir)


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
        self.columns = [*(image_keys(opened.table.features) or (entry.image,))]
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
    columns = {name: column_values(table, name) for name in caption_columns(table.features, entry.caption)}
    if not columns:
        raise DataError(f"data set {entry.name!r}: no column holds captions; it has {', '.join(table.features)}")
    where = f"data set {entry.name!r}: row"
    return [
        Record({name: column[row] for name, column in columns.items()}, f"{where} {row}", "")
        for row in range(len(table))
    ]


def _items(number: int, record: Record, images: _Images) -> list[_Item]:
    pairs = hard_pairs(record)
    image = images.place(number, record, IMAGE)
    return [_Item(image, pair, record.where) for pair in pairs]


def _match(number: int, record: Record, images: _Images, keys: tuple[str, str]) -> _Match:
    pair = caption_pair(record, keys)
    first, second = (images.place(number, record, key) for key in keys)
    return _Match((first, second), pair)


def _groups(entry: DataEntry, items: Sequence[_Item]) -> dict[str, Ints]:
    """Return the (I,) group numbers of the items, by the name of the score that counts whole groups.

    Raises:
        DataError: an item has no group of a score that others have, or a set of images is not whole.
    """
    found: dict[str, Ints] = {}
    scores = dict.fromkeys(score for item in items for score in item.pair.groups)
    for score in scores:
        other = next((item for item in items if score not in item.pair.groups), None)
        if other is not None:
            one = next(item for item in items if score in item.pair.groups)
            raise DataError(f"{other.where} is not of the layout of {one.where}; give them as two data sets")
        numbers: dict[tuple[str, ...], int] = {}
        found[score] = np.array([numbers.setdefault(i.pair.groups[score], len(numbers)) for i in items], np.int64)
    if WHATSUP_SET in found:
        sets: dict[int, list[HardPair]] = {}
        for number, item in zip(found[WHATSUP_SET].tolist(), items, strict=True):
            sets.setdefault(number, []).append(item.pair)
        scenes = [((pairs[0].caption, *pairs[0].false), [pair.caption for pair in pairs]) for pairs in sets.values()]
        check_scenes(scenes, f"data set {entry.name!r}")
    return found


def _never_right(entry: DataEntry, items: Sequence[_Item]) -> tuple[str, ...]:
    """Return a remark on items whose false caption is their true one; a model cannot be right on them."""
    tied = [item for item in items if item.pair.caption in item.pair.false]
    if not tied:
        return ()
    such = f"{len(tied)}, such as {printable(tied[0].pair.caption)!r}"
    return (f"data set {entry.name!r}: items that count as wrong because their false caption is the true one: {such}",)


def _contrast_set(entry: DataEntry, items: list[_Item], images: _Images, cache_dir: Path | None) -> ContrastSet:
    groups = _groups(entry, items)
    rows = images.rows()
    rows = replace(rows, remarks=(*rows.remarks, *_never_right(entry, items)))
    pictures, places = distinct_image_set(entry, rows, cache_dir=cache_dir)
    text_of: dict[str, int] = {}
    true_of = [text_of.setdefault(item.pair.caption, len(text_of)) for item in items]
    false = [(i, text_of.setdefault(text, len(text_of))) for i, item in enumerate(items) for text in item.pair.false]
    columns = {
        "image_of": places[[item.image for item in items]],
        "true_of": np.array(true_of, np.int64),
        "false_items": np.array([i for i, _ in false], np.int64),
        "false_of": np.array([text for _, text in false], np.int64),
    }
    kinds = [item.pair.kind for item in items]
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
        groups=groups,
        fingerprint=_fingerprint(pictures, text_of, columns | groups, kinds),
    )


def _match_set(entry: DataEntry, matches: list[_Match], images: _Images, cache_dir: Path | None) -> MatchSet:
    pictures, places = distinct_image_set(entry, images.rows(), cache_dir=cache_dir)
    text_of: dict[str, int] = {}
    texts = [[text_of.setdefault(text, len(text_of)) for text in match.pair.captions] for match in matches]
    columns = {"image_of": places[[match.images for match in matches]], "text_of": np.array(texts, np.int64)}
    kinds = [match.pair.kind for match in matches]
    return MatchSet(
        images=pictures,
        texts=list(text_of),
        **columns,
        kinds=kinds,
        samples=[f"{i}: {match.pair.captions[0]}" for i, match in enumerate(matches)],
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
