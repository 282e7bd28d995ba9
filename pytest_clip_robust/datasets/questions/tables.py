"""Questions as a listing (CSV, JSON, JSON lines) or a table (Parquet, webdataset, hub), one question per row.

    image       an image, or its file relative to the listing's folder
    question    optional
    options     a list, also as JSON in CSV; or a column per option: option_0, option_1, ..., or A, B, ...
    answer      the text of the true option, its letter, or its place
    kind        optional

FOCI's files of options (Geigle et al. 2024) are listings of this form: a JSON object with a list of `image`, `options`
and `groundtruth` per class.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import prepared_folder
from pytest_clip_robust.datasets.questions.answers import Asked, read_answers
from pytest_clip_robust.datasets.questions.question_set import Question, QuestionRows, checked_options
from pytest_clip_robust.datasets.sources.arrow import Opened, column_values, table_images
from pytest_clip_robust.datasets.sources.listings import (
    ImageFinder,
    Listings,
    Record,
    find_listings,
    image_of,
    read_records,
    text_list,
    value_of,
)
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.datasets.sources.rows import file_rows
from pytest_clip_robust.errors import DataError, shown
from pytest_clip_robust.system.files import is_file, is_folder, user_path
from pytest_clip_robust.system.text import printable

QUESTION_KEYS = ("question",)
OPTIONS_KEYS = ("options", "choices", "candidates")
ANSWER_KEYS = ("answer", "groundtruth", "ground_truth", "truth", "label")
KIND = "kind"
JSON = "json"
USUAL_FILES = ("questions.jsonl", "questions.json", "questions.csv", "questions.tsv")

_NUMBERED = re.compile(r"(?:option|choice|candidate)[ _-]?(\d{1,3}|[a-z])", re.IGNORECASE)
_LETTERED = re.compile(r"[A-Z]")


def read_question_table(entry: DataEntry, cache_dir: Path | None) -> QuestionRows:
    """Read the questions of a listing or a table.

    The entry's `image`, `label` and `caption` are the columns of images, answers and texts of questions.

    Raises:
        DataError: the files cannot be read, an image does not exist, or the options or the answer of a row are wrong.
    """
    listings = _listings(entry)
    if listings is None:
        opened = open_table(entry, prepared_folder(cache_dir))
        records = table_records(entry, opened)
        pictures = table_images(entry, opened)
        images: Sequence[int] = range(len(records))
    else:
        records, remarks = read_records(listings, entry)
        finder = ImageFinder(listings.root)
        images = [finder.place(_image(entry, record.values), record.where) for record in records]
        pictures = file_rows(finder.names, finder.paths, origin=str(listings.paths[0]))
        pictures = replace(pictures, remarks=remarks)
    questions, remarks = questions_of(entry, records, images)
    return QuestionRows(pictures=replace(pictures, remarks=(*pictures.remarks, *remarks)), questions=questions)


def questions_of(
    entry: DataEntry, records: Sequence[Record], images: Iterable[int]
) -> tuple[list[Question], tuple[str, ...]]:
    """Return the question of every record about the image of that number, and lines for the user.

    Raises:
        DataError: a text, the options or the answer of a record are wrong; the message names the record.
    """
    asked = [_asked(entry, record) for record in records]
    truths, remarks = read_answers(asked, entry.name)
    questions = [
        Question(
            image=image,
            text=_text(entry, record),
            options=one.options,
            truth=truth,
            kind=_kind(record.values.get(KIND)),
        )
        for image, record, one, truth in zip(images, records, asked, truths, strict=True)
    ]
    return questions, remarks


def table_records(entry: DataEntry, opened: Opened) -> list[Record]:
    """Return the rows of a table without their images; numbers that are classes become names.

    Raises:
        DataError: the table has no column of options or of answers, or lacks one that the entry names.
    """
    features = _columns(opened.table)
    options = _option_columns(features)
    where = f"data set {entry.name!r}"
    answer = entry.label or next((name for name in ANSWER_KEYS if name in features), "answer")
    for column in (answer, entry.caption):
        if column and column not in features:
            raise DataError(
                f"{where}: no column {column!r}; it has {', '.join(features)}; name the answers with ?label="
            )
    if not options and not any(name in features for name in OPTIONS_KEYS):
        raise DataError(
            f"{where}: no column holds options; it has {', '.join(features)}; expected 'options' with a list per row"
        )
    wanted = {*QUESTION_KEYS, *OPTIONS_KEYS, *options, answer, entry.caption, KIND}
    columns = {name: _values(*place) for name, place in features.items() if name in wanted}
    return [
        Record({name: column[i] for name, column in columns.items()}, f"{where}: row {row}", "")
        for i, row in enumerate(opened.rows)
    ]


def _listings(entry: DataEntry) -> Listings | None:
    """Return the entry's listing, or one of a usual name in its folder; None for a table."""
    root = user_path(entry.location).absolute()
    if entry.location and not entry.table and is_folder(root):
        folders = [root / entry.split, root] if entry.split else [root]
        usual = [name for name in USUAL_FILES if any(is_file(folder / name) for folder in folders)]
        if not usual:
            return None
        entry = replace(entry, table=usual[0])
    found = find_listings(entry)
    return found if found.paths else None


def _image(entry: DataEntry, values: Mapping[str, Any]) -> Any:
    """Return a record's file; of an absolute path of another machine, the last folder and the file."""
    file = values.get(entry.image) if entry.image else image_of(values)
    if isinstance(file, str) and PurePath(file).is_absolute() and not is_file(Path(file)):
        return "/".join(PurePath(file).parts[1:][-2:])
    return file


def _columns(table: Any) -> dict[str, tuple[Any, str]]:
    """Return the table and column of every name; in a tar, names can be the keys of its .json files."""
    found = {name: (table, name) for name in table.features}
    if isinstance(table.features.get(JSON), dict):
        inner = table.select_columns([JSON]).flatten()
        found |= {name.removeprefix(f"{JSON}."): (inner, name) for name in inner.features}
    return found


def _values(table: Any, name: str) -> list[Any]:
    values, feature = column_values(table, name), table.features[name]
    names = getattr(feature, "names", None)
    return values if names is None else [None if value is None or value < 0 else names[value] for value in values]


def _asked(entry: DataEntry, record: Record) -> Asked:
    found = value_of(record.values, OPTIONS_KEYS)
    if found is None and (columns := _option_columns(record.values)):
        found = [record.values[name] for name in columns]
        while found and _is_empty(found[-1]):  # a question with fewer options than others
            found.pop()
    if found is None:
        keys = ", ".join(map(printable, record.values))
        raise DataError(f"{record.where}: it has no options, but {keys}; expected 'options' with a list")
    options = checked_options(text_list(found) if isinstance(found, str) else found, record.where)
    return Asked(value_of(record.values, (entry.label,) if entry.label else ANSWER_KEYS), options, record.where)


def _option_columns(names: Iterable[str]) -> list[str]:
    """Return the columns of one option each in order: option_0, option_1, ..., or A, B, ...."""
    listed = [name for name in names if name not in OPTIONS_KEYS]
    numbered = {match[1]: name for name in listed if (match := _NUMBERED.fullmatch(name))}
    if numbered:
        return [numbered[key] for key in sorted(numbered, key=lambda key: (len(key), key.upper()))]
    letters = sorted(name for name in listed if _LETTERED.fullmatch(name))
    return letters if letters[:2] == ["A", "B"] else []


def _is_empty(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def _text(entry: DataEntry, record: Record) -> str:
    text = value_of(record.values, (entry.caption,) if entry.caption else QUESTION_KEYS)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(f"{record.where}: question {shown(text)}; expected a text")
    return unicodedata.normalize("NFC", text).strip()


def _kind(value: Any) -> str:
    return "" if _is_empty(value) else printable(str(value).strip())
