"""Listings: JSON, JSON lines and CSV files that name images, read as one record per entry.

They hold the captions and questions of public data sets; the readers of those interpret the records.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.delimited import read_delimited
from pytest_clip_robust.datasets.sources.splits import no_such_split, split_remark, split_rows
from pytest_clip_robust.datasets.sources.walk import check_inside, matching_files, spelled_file, visible
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder, read_text, user_path
from pytest_clip_robust.system.text import printable

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".txt")
USUAL_NAMES = ("captions.json", "captions.csv", "captions.txt", "results.csv", "examples.jsonl")
IMAGE_KEYS = ("image", "filename", "file_name", "file", "image_path", "image_name", "img", "path")
COCO_DIGITS = 12
IMAGE_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class Listings:
    """Files that list images, and the folder of the images.

    in_split: both are in a folder with the name of the entry's split.
    """

    root: Path
    paths: list[Path]
    in_split: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a listing: its values, its place for messages, and the name of its part of the file."""

    values: Mapping[str, Any]
    where: str
    part: str


def find_listings(entry: DataEntry) -> Listings:
    """Return the folder of the images and the listings; none if the location is a table or a hub repository.

    ``table`` names a file, a folder or a glob, in the folder of the images or anywhere. A folder of the entry's split
    is read instead of the location if the listing is in it.

    Raises:
        DataError: the set has no location, or the named listing does not exist.
    """
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path")
    root = user_path(entry.location).absolute()
    if entry.split and is_folder(root / entry.split):
        found = _listings_in(entry, root / entry.split, named=False)
        if found:
            return Listings(root / entry.split, found, in_split=True)
    if is_file(root) and root.suffix in SUFFIXES and not entry.table:
        return Listings(root.parent, [root])
    return Listings(root, _listings_in(entry, root, named=True), in_split=root.name == entry.split)


def read_records(listings: Listings, entry: DataEntry) -> tuple[list[Record], tuple[str, ...]]:
    """Return the records of the entry's split, and remarks; all records if none names a split.

    Raises:
        DataError: a file cannot be read, has another form, or does not have that split.
    """
    where = f"data set {entry.name!r}"
    records = [record for path in listings.paths for record in _read(path, where)]
    listed = ", ".join(map(str, listings.paths))
    if not records:
        raise DataError(f"{where}: no entries in {listed}")
    values = [record.values.get("split") for record in records]
    if entry.split and not listings.in_split and not any(values):
        raise no_such_split(entry, f"no entry of {listed} names a split")
    kept = split_rows(entry, values, listed, settled=listings.in_split, or_all=True)
    splits = sorted({str(value) for value in values if value})
    if kept is None:
        whole = f"{where}: reads all splits: {', '.join(map(printable, splits))}; ?split=NAME reads one of them"
        return records, (whole,) if len(splits) > 1 and not entry.split else ()
    remarks = split_remark(entry, str(values[int(kept[0])]), splits)
    return [records[i] for i in kept.tolist()], remarks


def _listings_in(entry: DataEntry, root: Path, *, named: bool) -> list[Path]:
    """Return the entry's listings in a folder, or with `named` anywhere.

    Raises:
        DataError: the entry names a listing that does not exist.
    """
    if not entry.table:
        return [root / name for name in USUAL_NAMES if is_file(root / name)][:1] if is_folder(root) else []
    table = user_path(entry.table)
    places = [root] if is_folder(root) and not (table.is_absolute() and not named) else []
    for place in [*places, Path()] if named else places:
        found = _matching(place / table)
        if found:
            return found
    if named:
        raise DataError(f"data set {entry.name!r}: no listing {entry.table} in {root} or here")
    return []


class ImageFinder:
    """Finds listed images in a folder or in its folder ``images``, and numbers them in the order of the listing.

    Of a listed path that does not exist there, the last folder with the file is looked for, and then the file alone. A
    number is the name of an image as in Visual Genome, or COCO's name with twelve digits.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: dict[str, int] = {}
        self._by_path: dict[str, str] = {}
        self.paths: list[str] = []

    @property
    def names(self) -> list[str]:
        """The images' names as listed."""
        return list(self._places)

    def place(self, file: object, where: str) -> int:
        """Return the number of `file`.

        Raises:
            DataError: no image has that name.
        """
        if isinstance(file, int) and not isinstance(file, bool):
            file = str(file)
        if not isinstance(file, str) or not file:
            raise DataError(f"{where}: image {file!r}; expected the name of an image file")
        if file not in self._places:
            self.paths.append(str(self._find(file, where)))
            self._places[file] = len(self._places)
        return self._places[file]

    def _find(self, file: str, where: str) -> Path:
        check_inside(self._root, file, where, absolute=True)
        parts = Path(file).parts
        shorter = ("/".join(parts[-2:]), parts[-1]) if len(parts) > 1 else ()
        padded = (file.zfill(COCO_DIGITS),) if file.isdecimal() else ()
        for candidate in (file, f"images/{file}", *shorter, *padded):
            for suffix in IMAGE_SUFFIXES:
                path = spelled_file(self._root / f"{candidate}{suffix}")
                if path is None:
                    continue
                if candidate in shorter and self._by_path.setdefault(str(path), file) != file:
                    other = printable(self._by_path[str(path)])
                    raise DataError(
                        f"{where}: {printable(file)} and {other} would both be {path}; give the folder that contains "
                        "the folders of the listed images"
                    )
                return path
        raise DataError(f"{where}: no image {printable(file)} in {self._root}")


def value_of(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of `keys` that has one, or None."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def image_of(values: Mapping[str, Any]) -> Any:
    """Return the image file of a record; Karpathy's files give its folder separately."""
    file, folder = value_of(values, IMAGE_KEYS), values.get("filepath")
    return f"{folder}/{file}" if isinstance(folder, str) and folder and isinstance(file, str) else file


def text_list(text: str) -> Any:
    """Return the list that a text holds in JSON or as Python writes it; the text itself if it is not a list."""
    for parse in (json.loads, ast.literal_eval):
        try:
            content = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(content, list):
            return content
    return text


def _matching(path: Path) -> list[Path]:
    if is_folder(path):
        return visible(file for file in path.iterdir() if file.suffix in {".json", ".jsonl"})
    return matching_files(path)


def _read(path: Path, name: str) -> Iterator[Record]:
    where = f"{name}: {path}"
    text = read_text(path, name)
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _record(_parse(line, f"{where}, line {number}"), f"{where}, line {number}", path.stem)
    elif path.suffix == ".json":
        yield from _from_json(_parse(text, where), where, path.stem)
    else:
        yield from _from_csv(text, where, path.stem)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=partial(_object, where=where))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}; expected JSON") from None


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Return a JSON object; Python's reader would keep the last of two values of one key."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise DataError(f"{where}: key {printable(key)!r} occurs twice with different values; remove one")
        found[key] = value
    return found


def _from_json(content: Any, where: str, part: str) -> Iterator[Record]:
    """Read a list of records, or an object of images, of records, or of parts."""
    if isinstance(content, list):
        for i, value in enumerate(content):
            yield _record(value, f"{where}, entry {i}", part)
    elif not isinstance(content, dict):
        raise DataError(f"{where}: {str(content)[:40]!r} is neither a list nor an object of captions")
    elif isinstance(content.get("images"), list):
        images = content["images"]
        if isinstance(content.get("annotations"), list):
            images = _joined(images, content["annotations"], where)
        for i, value in enumerate(images):
            yield _record(value, f"{where}, image {i}", part)
    else:
        for key, value in content.items():
            yield from _keyed(key, value, f"{where}, entry {printable(key)!r}", part)


def _keyed(key: str, value: Any, where: str, part: str) -> Iterator[Record]:
    if isinstance(value, dict):
        yield Record(
            value if image_of(value) is not None or {"image_0", "image_1"} & set(value) else {"image": key, **value},
            where,
            part,
        )
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for i, one in enumerate(value):
            yield Record(one, f"{where}, {i}", key)
    else:
        yield Record({"image": key, "captions": value}, where, part)


def _joined(images: list[Any], annotations: list[Any], where: str) -> list[dict[str, Any]]:
    """Join COCO's images and annotations."""
    try:
        listed: dict[Any, dict[str, Any]] = {}
        for image in images:
            known = listed.setdefault(image["id"], {**image, "captions": []})
            if image_of(known) != image_of(image):
                raise DataError(
                    f"{where}: id {image['id']!r} is that of two images, {printable(str(image_of(known)))!r} and "
                    f"{printable(str(image_of(image)))!r}; give each its own id"
                )
        for annotation in annotations:
            if annotation["image_id"] not in listed:
                raise DataError(
                    f"{where}: caption {printable(str(annotation.get('caption')))!r} belongs to image "
                    f"{annotation['image_id']!r}, which is not listed"
                )
            listed[annotation["image_id"]]["captions"].append(annotation["caption"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: an entry lacks {error}; expected COCO's images and annotations") from None
    return list(listed.values())


def _from_csv(text: str, where: str, part: str) -> Iterator[Record]:
    for line in read_delimited(text, where)[1]:
        yield Record(line.values, f"{where}, line {line.number}", part)


def _record(value: Any, where: str, part: str) -> Record:
    if isinstance(value, list) and len(value) > 2 and isinstance(value[0], int | str):
        return Record({"image": value[0], "caption_options": value[1:]}, where, part)
    if not isinstance(value, dict):
        raise DataError(f"{where}: {str(value)[:40]!r}; expected an object with an image and captions")
    return Record(value, where, part)
