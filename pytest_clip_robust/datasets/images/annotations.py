"""Visual-factor annotations in the form of ImageNet-X: JSON lines with a file name and boolean columns."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.labels import canonical
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.system.expansion import ExpansionError, check_gzip
from pytest_clip_robust.system.text import printable

PROTOTYPES = "prototypical_paths.csv"
"""A file next to the annotations: images that annotators compared with, which are left out (Idrissi et al. 2023)."""

FLAGS = {
    word: value
    for value, words in ((True, ("true", "t", "yes", "y")), (False, ("false", "f", "no", "n")))
    for word in words
}
"""Words for a boolean, in lower case; numbers are 0 and 1."""

_HUB_SUFFIX = re.compile(r"_n\d{8}$")


def as_flag(value: object) -> bool | None:
    """Return the boolean that a value of a file means, or None if it is not one.

    >>> as_flag(1.0), as_flag("No"), as_flag(""), as_flag(2)
    (True, False, None, None)
    """
    text = str(value).strip().lower()
    try:
        return {0.0: False, 1.0: True}.get(float(text))
    except ValueError:
        return FLAGS.get(text)


@dataclass(frozen=True, slots=True)
class FactorAnnotations:
    """The factors of each image. `rows` maps a file name to one boolean per column."""

    source: Path
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[bool, ...]]

    def join(self, samples: Sequence[str], *, name: str) -> tuple[Ints, dict[str, NDArray[np.bool_]]]:
        """Return the positions of the annotated images among `samples`, and their columns.

        Files match by name without folders and suffix, and without ``_n01440764`` at the end, which copies of ImageNet
        on the hub have.

        Raises:
            DataError: no file name matches, or two samples or two rows that differ have the same name.
        """
        by_stem: dict[str, tuple[bool, ...]] = {}
        file_of: dict[str, str] = {}
        for file, row in self.rows.items():
            stem = _stem(file)
            if by_stem.setdefault(stem, row) != row:
                both = f"{printable(file_of[stem])!r} and {printable(file)!r}"
                raise DataError(
                    f"{name}: {self.source} annotates {both} differently, but files are matched without their folders"
                )
            file_of.setdefault(stem, file)
        kept: dict[str, int] = {}
        for position, sample in enumerate(samples):
            stem = _stem(sample)
            if stem not in by_stem:
                continue
            if stem in kept:
                raise DataError(f"{name}: {samples[kept[stem]]!r} and {sample!r} match the same row of {self.source}")
            kept[stem] = position
        if not kept:
            raise DataError(
                f"{name}: {self.source} annotates none of its {len(samples)} images; "
                f"the set has {samples[0]!r}, the annotations {next(iter(self.rows))!r}"
            )
        table = np.array([by_stem[stem] for stem in kept], dtype=np.bool_)
        return np.array(list(kept.values()), dtype=np.int64), dict(zip(self.columns, table.T, strict=True))


def read_factor_annotations(path: Path, factors: Sequence[str] = ()) -> FactorAnnotations:
    """Read JSON lines (plain or gzip) with ``file_name`` and a column of 0 and 1 for each of `factors`.

    Without `factors`, those of the 16 known ones that any line has are read, and every line must have them. The images
    that a file ``prototypical_paths.csv`` next to `path` names are left out, as in the published numbers of ImageNet-X.

    Raises:
        DataError: the file cannot be read, has a wrong line, or is empty.
    """
    left_out = _prototypes(path.with_name(PROTOTYPES))
    lines = list(_lines(path))
    columns = _columns(lines, factors)
    rows: dict[str, tuple[bool, ...]] = {}
    for where, line in lines:
        file = line.get("file_name")
        if not isinstance(file, str):
            raise DataError(f"{where}: file_name={file!r}; expected the name of an image file")
        if file in rows:
            raise DataError(f"{where}: {file!r} is annotated twice")
        if file not in left_out:
            rows[file] = tuple(_flag(line, column, where) for column in columns)
    if not rows:
        raise DataError(f"annotations {path}: no image is annotated")
    return FactorAnnotations(path, columns, rows)


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with _open(path) as file:
            for number, text in enumerate(file, start=1):
                where = f"annotations {path}, line {number}"
                try:
                    line = json.loads(text)
                except ValueError as error:
                    raise DataError(f"{where}: {error}; expected one JSON object per line") from None
                if not isinstance(line, dict):
                    raise DataError(f"{where}: {text[:40]!r} is not a JSON object")
                yield where, line
    except (OSError, EOFError, UnicodeDecodeError, ExpansionError) as error:
        raise DataError(f"annotations {path} cannot be read: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        check_gzip(path)
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _columns(lines: Sequence[tuple[str, Mapping[str, Any]]], factors: Sequence[str]) -> tuple[str, ...]:
    if not lines:
        return ()
    where, line = lines[0]
    for factor in factors:
        if factor not in line:
            raise DataError(f"{where}: no factor {factor!r}{did_you_mean(factor, line)}; it has {', '.join(line)}")
    found = tuple(factors) or tuple(column for column in FACTORS if any(column in one for _, one in lines))
    if not found:
        raise DataError(f"{where}: it has none of the 16 factors, but {', '.join(line)}; name them with factors=")
    return found


def _flag(line: Mapping[str, Any], column: str, where: str) -> bool:
    flag = as_flag(line.get(column))
    if flag is None:
        raise DataError(f"{where}: {column}={line.get(column)!r}; expected 0 or 1")
    return flag


def _prototypes(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "file_name" not in (reader.fieldnames or ()):
            raise DataError(f"{path}: no column 'file_name'; it has {reader.fieldnames}")
        return frozenset(PurePosixPath(row["file_name"]).name for row in reader)


def _stem(file: str) -> str:
    return _HUB_SUFFIX.sub("", PurePosixPath(canonical(file)).stem)
