"""Data entries: the location of a data set and how to read it. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from pytest_clip_robust.core.plain import read_value
from pytest_clip_robust.errors import ConfigError, DataError, did_you_mean, shown
from pytest_clip_robust.names import DATA_FORMATS, PUBLISHED_SETS

CLASS_LISTS = ("imagenet-1k", "imagenet-a", "imagenet-r")
"""Lists of classes that are known by name."""

GROUPS = ("", "near", "far")
DUPLICATES = ("apart", "together")
NAME = re.compile(r"[\w.\-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """One data set. Every field but `name` has a default, which means "detect it" or "none".

    location: a folder, a file, a glob of files, or the name of a repository on the hub.
    format: how to read the location; ``auto`` detects it.
    split: the split to read, of a hub repository or a folder of splits.
    table: a CSV file in the folder that names image files and labels, or the listing of a set of captions.
    image, label, caption: names of columns; ``""`` takes the usual names of the format.
    duplicates: whether equal captions and equal images of a set of captions are ``apart`` or one ``together``.
    classes: ``""`` for the set's own; ``imagenet-1k``, ``imagenet-a`` or ``imagenet-r``; a text file with one class
        name (or id, tab, name) per line; or the names themselves.
    subset: ``all`` classes of the list, or only those ``present`` in the set (ImageNet-A and -R).
    annotations: a JSON-lines file with boolean columns, joined to the images by file name.
    factors: boolean columns to read as visual factors; ``()`` takes those of the 16 known ones that the set has.
    depth: a column of depth maps, or a folder with a depth map under the name of every image; ``""`` takes the column
        ``depth`` if there is one.
    crop_border: pixels to cut from every side before preprocessing.
    exclude: names of classes to leave out, with all their images.
    images: how many images to read, spread evenly over the classes and chosen by file name; 0 for all.
    role: the set's role if no profile gives one. group: ``near`` or ``far``, for an OOD set.
    published_as: the name of this set in the shipped panels of published accuracies (`names.PUBLISHED_SETS`).
    licence: of the images. hint: where to get a local copy. size: how many images the published set has, 0 for unknown.
    """

    name: str
    location: str = ""
    format: str = "auto"
    split: str = ""
    table: str = ""
    image: str = ""
    label: str = ""
    caption: str = ""
    duplicates: str = "apart"
    classes: str | tuple[str, ...] = ""
    subset: str = "all"
    annotations: str = ""
    factors: tuple[str, ...] = ()
    depth: str = ""
    crop_border: int = 0
    exclude: tuple[str, ...] = ()
    images: int = 0
    role: str = ""
    group: str = ""
    published_as: str = ""
    licence: str = ""
    hint: str = ""
    size: int = 0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"data set name {shown(self.name)}: use letters, digits, '.', '_' and '-'")
        for field in KEYS:
            if "\0" in str(getattr(self, field)):
                raise ConfigError(f"data set {self.name!r}: {field} contains a null character, which no path can have")
        for field, allowed in (
            ("format", DATA_FORMATS),
            ("subset", ("all", "present")),
            ("group", GROUPS),
            ("duplicates", DUPLICATES),
            ("published_as", ("", *PUBLISHED_SETS)),
        ):
            value = getattr(self, field)
            if value not in allowed:
                known = ", ".join(filter(None, allowed))
                raise ConfigError(f"data set {self.name!r}: {field}={shown(value)}; expected one of {known}")
        if self.size < 0:
            raise ConfigError(f"data set {self.name!r}: size={self.size}; expected a number of images, 0 for unknown")
        if self.crop_border < 0:
            raise ConfigError(f"data set {self.name!r}: crop_border={self.crop_border}; expected 0 or more pixels")
        if self.images < 0:
            raise ConfigError(f"data set {self.name!r}: images={self.images}; expected 1 or more, or 0 for all")


LISTS = {"factors", "exclude"}
NUMBERS = ("crop_border", "images")
KEYS = {field.name: field for field in fields(DataEntry) if field.name != "name"}


def parse_data_option(option: str) -> DataEntry:
    """Read ``NAME=LOCATION[?key=value&...]``.

    Values are percent-decoded as in a URL, so a ``?`` in a location is written as ``%3F``.

    Raises:
        ConfigError: the option has another form, an unknown key, or a value of the wrong type.

    >>> parse_data_option("photos=/data/photos?label=species").label
    'species'
    """
    name, equals, rest = option.partition("=")
    if not equals or not name or not rest:
        raise ConfigError(f"--clip-data {option!r}: expected NAME=LOCATION, such as photos=/data/photos")
    location, _, query = rest.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    table: dict[str, Any] = dict(pairs)
    if len(table) != len(pairs):
        raise ConfigError(f"--clip-data {option!r}: a key is given twice")
    for key in LISTS & set(table):
        table[key] = [item for item in table[key].split(",") if item]
    for key in NUMBERS:
        if key in table:
            table[key] = _number(key, table[key], option)
    return entry_from_table(name, {**table, "location": unquote(location)})


def entry_from_table(name: str, table: Mapping[str, Any]) -> DataEntry:
    """Read an entry from a TOML table.

    Raises:
        ConfigError: the table has an unknown key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise ConfigError(f"data set {shown(name)}: unknown key {shown(key)}{did_you_mean(key, KEYS)}")
        listed = key in LISTS or (key == "classes" and isinstance(value, list))
        kind = tuple[str, ...] if listed else type(KEYS[key].default)
        values[key] = read_value(kind, value, where=f"data set {shown(name)}: {key}")
    return DataEntry(name=name, **values)


def merge(base: DataEntry, override: DataEntry) -> DataEntry:
    """Return `base` with every field that `override` sets to another value than the default.

    The format of a new location is detected again, unless `override` gives one.
    """
    default = DataEntry(name=override.name)
    changed = {key: getattr(override, key) for key in KEYS if getattr(override, key) != getattr(default, key)}
    if "location" in changed:
        # The base's columns and split belong to the files of its own location.
        changed = {
            key: getattr(override, key) for key in ("format", "split", "table", "image", "label", "caption", "depth")
        } | changed
    return replace(base, **changed)


def refuse_choice(entry: DataEntry, things: str) -> None:
    """Refuse an entry that chooses images by their classes, for sets whose `things` have none.

    Raises:
        DataError: the entry excludes classes, or asks for a number of images.
    """
    if entry.exclude:
        raise DataError(
            f"data set {entry.name!r}: exclude={list(entry.exclude)} leaves out classes, but {things} have none"
        )
    if entry.images:
        raise DataError(
            f"data set {entry.name!r}: images={entry.images} chooses images by their classes, but {things} have none"
        )


def _number(key: str, text: str, option: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"--clip-data {option!r}: {key}={text!r} is not a whole number")
    return int(text)
