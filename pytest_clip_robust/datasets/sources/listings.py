"""Listings: JSON, JSON lines and CSV files that name images, read as one record per entry.

They hold the captions of public data sets; the readers of captions and contrasts interpret the records.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.files import read_text
from pytest_clip_robust.system.text import printable

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".txt")
USUAL_NAMES = ("captions.json", "captions.csv", "captions.txt", "results.csv", "examples.jsonl")
IMAGE_KEYS = ("image", "filename", "file_name", "file", "image_path", "image_name", "img", "path")
IMAGE_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
DELIMITERS = ("\t", "|")
"""Delimiters of a CSV file whose header contains one of them; otherwise it is a comma."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a listing: its values, its place for messages, and the name of its part of the file."""

    values: Mapping[str, Any]
    where: str
    part: str


def find_listings(entry: DataEntry) -> tuple[Path, list[Path]]:
    """Return the folder of the images and the listings; no listings if the location is a table or a hub repository.

    ``table`` names a file, a folder or a glob, in the folder of the images or anywhere.

    Raises:
        DataError: the set has no location, or the named listing does not exist.
    """
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location; give one with --clip-data {entry.name}=/path")
    root = Path(entry.location).expanduser().absolute()
    if entry.table:
        places = [root, Path()] if root.is_dir() else [Path()]
        for place in places:
            found = _matching(place / Path(entry.table).expanduser())
            if found:
                return root, found
        raise DataError(f"data set {entry.name!r}: no listing {entry.table} in {root} or here")
    if root.is_file() and root.suffix in SUFFIXES:
        return root.parent, [root]
    if root.is_dir():
        return root, [root / name for name in USUAL_NAMES if (root / name).is_file()][:1]
    return root, []


def read_records(paths: Sequence[Path], *, name: str, split: str) -> list[Record]:
    """Read the records of `split`; without one, those of the split ``test`` if there is one, and otherwise all.

    Raises:
        DataError: a file cannot be read, has another form, or does not have that split.
    """
    records = [record for path in paths for record in _read(path, f"data set {name!r}")]
    splits = {str(record.values["split"]) for record in records if record.values.get("split")}
    wanted = split or ("test" if "test" in splits else "")
    if splits and split and split not in splits:
        raise DataError(
            f"data set {name!r}: no split {split!r}{did_you_mean(split, splits)}; it has {', '.join(sorted(splits))}"
        )
    kept = [one for one in records if not splits or not wanted or one.values.get("split") == wanted]
    if not kept:
        raise DataError(f"data set {name!r}: no entries in {', '.join(map(str, paths))}")
    return kept


class ImageFinder:
    """Finds listed images in a folder or in its folder ``images``, and numbers them in the order of the listing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: dict[str, int] = {}
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
        if not isinstance(file, str) or not file:
            raise DataError(f"{where}: image {file!r}; expected the name of an image file")
        if file not in self._places:
            self.paths.append(str(self._find(file, where)))
            self._places[file] = len(self._places)
        return self._places[file]

    def _find(self, file: str, where: str) -> Path:
        for candidate in (file, f"images/{file}", Path(file).name):
            for suffix in IMAGE_SUFFIXES:
                path = self._root / f"{candidate}{suffix}"
                if path.is_file():
                    return path
        raise DataError(f"{where}: no image {printable(file)} in {self._root}")


def value_of(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of `keys` that has one, or None."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def image_of(values: Mapping[str, Any]) -> Any:
    """Return the image file of a record; Karpathy's files give its folder separately."""
    file, folder = value_of(values, IMAGE_KEYS), values.get("filepath")
    return f"{folder}/{file}" if isinstance(folder, str) and folder and isinstance(file, str) else file


def _matching(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in {".json", ".jsonl"})
    return sorted(path.parent.glob(path.name)) if any(char in path.name for char in "*?[") else []


def _read(path: Path, name: str) -> Iterator[Record]:
    where = f"{name}: {path}"
    text = read_text(path, name)
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield _record(_parse(line, f"{where}, line {number}"), f"{where}, line {number}", path.stem)
    elif path.suffix == ".json":
        yield from _from_json(_parse(text, where), where, path.stem)
    else:
        yield from _from_csv(text, where, path.stem)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected JSON") from None


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
            value if image_of(value) is not None or "image_0" in value else {"image": key, **value}, where, part
        )
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for i, one in enumerate(value):
            yield Record(one, f"{where}, {i}", key)
    else:
        yield Record({"image": key, "captions": value}, where, part)


def _joined(images: list[Any], annotations: list[Any], where: str) -> list[dict[str, Any]]:
    """Join COCO's images and annotations."""
    try:
        listed = {image["id"]: {**image, "captions": []} for image in images}
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
    header, _, _ = text.partition("\n")
    delimiter = next((one for one in DELIMITERS if one in header), ",")
    try:
        reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=delimiter == "|")
        for line in reader:
            values = {key.strip(): value for key, value in line.items() if key is not None}
            yield Record(values, f"{where}, line {reader.line_num}", part)
    except csv.Error as error:
        raise DataError(f"{where}: {error}") from error


def _record(value: Any, where: str, part: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{where}: {str(value)[:40]!r}; expected an object with an image and captions")
    return Record(value, where, part)
