"""Delimited text: CSV with or without quoting, tabs, and the bars of Flickr30k.

Public files differ in quoting, and a reader that assumes the wrong kind joins lines or drops text without an error. So
the file decides: where every line has as many delimiters as the header, a quotation mark is only text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

DELIMITERS = ("\t", "|")
"""Delimiters of a file whose header contains one of them; otherwise it is a comma."""

QUOTE = '"'


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a delimited file: its number, which counts from 1, and its values by column."""

    number: int
    values: dict[str, str]


def read_delimited(text: str, where: str) -> tuple[list[str], list[Line]]:
    """Return the columns and the lines of a delimited file with a header.

    Raises:
        DataError: two columns have one name, or a line has more or fewer values than the header; the message begins
            with `where` and names the line.
    """
    header, _, _ = text.partition("\n")
    delimiter = next((one for one in DELIMITERS if one in header), ",")
    rows = _literal(text, delimiter)
    if delimiter != "|" and any(len(values) != len(rows[0][1]) for _, values in rows):
        rows = _quoted(text, delimiter, where)
    if not rows:
        return [], []
    columns = [name.strip() for name in rows[0][1]]
    twice = next((name for i, name in enumerate(columns) if name and name in columns[:i]), None)
    if twice is not None:
        raise DataError(f"{where}: two columns are called {printable(twice)!r}; rename one")
    return columns, list(_lines(rows[1:], columns, delimiter, where))


def _lines(rows: Sequence[tuple[int, list[str]]], columns: Sequence[str], delimiter: str, where: str) -> Iterator[Line]:
    for number, found in rows:
        values = [value.strip() for value in found] if delimiter == "|" else found
        if delimiter == "|" and len(values) > len(columns):
            values[len(columns) - 1 :] = [delimiter.join(found[len(columns) - 1 :]).strip()]
        if len(values) != len(columns):
            hint = "; put values that contain the delimiter in quotes" if len(values) > len(columns) else ""
            raise DataError(
                f"{where}, line {number}: {len(values)} values under a header of {len(columns)} columns, separated by "
                f"{delimiter!r}{hint}"
            )
        yield Line(number, dict(zip(columns, values, strict=True)))


def _literal(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Split every line at its delimiters, and remove quotes around whole values where the format has quoting."""
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), start=1)]
    rows = [(number, line.split(delimiter)) for number, line in lines if line]
    if delimiter == "," or (delimiter == "\t" and _has_quoting([values for _, values in rows])):
        return [(number, [_unquoted(value) for value in values]) for number, values in rows]
    return rows


def _has_quoting(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether values between tabs are quoted: all quotes are well formed, and one value needs them."""
    quoted = [value for values in rows for value in values if QUOTE in value]
    return all(map(_is_quoted, quoted)) and (
        any(QUOTE in value[1:-1] for value in quoted) or all(map(_is_quoted, rows[0] if rows else ()))
    )


def _is_quoted(value: str) -> bool:
    ends = len(value) > 1 and value[0] == value[-1] == QUOTE
    return ends and QUOTE not in value[1:-1].replace(QUOTE * 2, "")


def _unquoted(value: str) -> str:
    return value[1:-1].replace(QUOTE * 2, QUOTE) if _is_quoted(value) else value


def _quoted(text: str, delimiter: str, where: str) -> list[tuple[int, list[str]]]:
    """Read quoted values, which can contain delimiters and line breaks."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, values) for values in reader if values]
    except csv.Error as error:
        raise DataError(
            f"{where}, line {reader.line_num}: {error}; write a quote in a quoted value twice, or use tabs"
        ) from error
