"""File names of cue-conflict images, and tables of what people and models answered to them.

The public set names its files ``SHAPE<i>-TEXTURE<j>``, as in ``airplane1-bicycle2.png``; tables of decisions have
more words before that.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_clip_robust.datasets.sources.walk import matching_files
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import user_path

CUES = re.compile(r"(?:^|_)(?P<stem>(?P<shape>[a-z]+)\d+-(?P<texture>[a-z]+)\d+)(?:\.\w+)?$", re.IGNORECASE)
COLUMNS = ("object_response", "category", "imagename")


@dataclass(frozen=True, slots=True)
class Cues:
    """The parts of a file name: its stem, the class of the shape and the class of the texture."""

    stem: str
    shape: str
    texture: str


@dataclass(frozen=True, slots=True)
class DecisionTable:
    """One observer's answers in the form of the public tables: names of classes, or ``na`` for no answer."""

    observer: str
    cues: tuple[Cues, ...]
    responses: tuple[str, ...]


def read_cues(name: str) -> Cues | None:
    """Return the cues in a file name, or None if it has no cues.

    >>> read_cues("0001_stg_dnn_0_airplane_00_airplane1-bicycle2.png")
    Cues(stem='airplane1-bicycle2', shape='airplane', texture='bicycle')
    """
    found = CUES.search(Path(name).name)
    return Cues(found["stem"], found["shape"].lower(), found["texture"].lower()) if found else None


def read_decisions(path: Path) -> DecisionTable:
    """Read one observer's CSV file with the columns object_response, category and imagename.

    Raises:
        DataError: the file cannot be read, lacks a column, or names an image without cues or with another shape.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"decisions {path}: {error}") from error
    for column in COLUMNS:
        if column not in columns:
            raise DataError(f"decisions {path}: no column {column!r}; it has {', '.join(columns)}")
    if not lines:
        raise DataError(f"decisions {path}: no lines")
    return DecisionTable(
        observer=path.stem,
        cues=tuple(_cues(line, path, number) for number, line in enumerate(lines, start=2)),
        responses=tuple(line["object_response"] or "na" for line in lines),
    )


def find_decisions(places: Sequence[str]) -> list[Path]:
    """Return the CSV files that match `places` (files or globs).

    Raises:
        DataError: no file matches one of them.
    """
    found: list[Path] = []
    for place in places:
        files = matching_files(user_path(place))
        if not files:
            raise DataError(f"decisions: no file {place}")
        found += files
    return found


def _cues(line: dict[str, str], path: Path, number: int) -> Cues:
    cues = read_cues(line["imagename"] or "")
    if cues is None:
        raise DataError(f"decisions {path}, line {number}: {line['imagename']!r} is not of the form SHAPE1-TEXTURE2")
    if cues.shape != line["category"]:
        raise DataError(
            f"decisions {path}, line {number}: category {line['category']!r} is not the shape of {line['imagename']!r}"
        )
    return cues
