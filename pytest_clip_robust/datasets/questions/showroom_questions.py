"""The showroom's questions: a table that names its images by subset and file name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import prepared_folder
from pytest_clip_robust.datasets.questions.question_set import QuestionRows
from pytest_clip_robust.datasets.questions.tables import questions_of, table_records
from pytest_clip_robust.datasets.sources.arrow import table_column, table_images
from pytest_clip_robust.datasets.sources.reading import open_table
from pytest_clip_robust.datasets.sources.rows import Rows, joined_rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

SOURCE, SAMPLE = "source", "sample"
IMAGE = "image"


def read_showroom_questions(entry: DataEntry, cache_dir: Path | None) -> QuestionRows:
    """Read questions about the images that the columns `source` (a subset) and `sample` (a file name in it) name.

    Raises:
        DataError: a column, a subset or an image does not exist, or a question is wrong.
    """
    opened = open_table(entry, prepared_folder(cache_dir))
    for column in (SOURCE, SAMPLE):
        if column not in opened.table.features:
            raise DataError(
                f"data set {entry.name!r}: no column {column!r} in {entry.location}; the showroom's questions are in "
                f"{showroom.PREFIX}questions"
            )
    asked = list(zip(*(table_column(entry, opened.table, column) for column in (SOURCE, SAMPLE)), strict=True))
    subsets = {
        subset: list(dict.fromkeys(sample for other, sample in asked if other == subset))
        for subset in dict.fromkeys(subset for subset, _ in asked)
    }
    numbered = {
        one: i for i, one in enumerate((subset, sample) for subset, samples in subsets.items() for sample in samples)
    }
    questions, remarks = questions_of(entry, table_records(entry, opened), [numbered[one] for one in asked])
    pictures = joined_rows(
        {subset: _pictures(entry, subset, samples, cache_dir) for subset, samples in subsets.items()}
    )
    return QuestionRows(pictures=replace(pictures, remarks=(*opened.remarks, *remarks)), questions=questions)


def _pictures(entry: DataEntry, subset: str, samples: list[str], cache_dir: Path | None) -> Rows:
    """Return images of a subset by file name."""
    part = DataEntry(name=entry.name, location=f"{showroom.PREFIX}{subset}", image=IMAGE)
    rows = table_images(part, open_table(part, prepared_folder(cache_dir)))
    names = pq.ParquetFile(showroom.data_file(subset)).read(columns=[f"{IMAGE}.path"]).column(IMAGE).to_pylist()
    places = {name["path"]: row for row, name in enumerate(names)}
    missing = next((sample for sample in samples if sample not in places), None)
    if missing is not None:
        raise DataError(f"data set {entry.name!r}: no image {printable(missing)!r} in {showroom.PREFIX}{subset}")
    return replace(rows.take(np.array([places[sample] for sample in samples], np.int64)), samples=samples)
