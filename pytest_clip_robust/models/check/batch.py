"""The embedded batch: sixteen pictures of everyday objects from the showroom, each with a text."""

from __future__ import annotations

import io
from functools import cache
from typing import NamedTuple

import pyarrow.parquet
from PIL import Image

from pytest_clip_robust import showroom

ROWS = (0, 18, 33, 51, 82, 98, 114, 135, 145, 197, 211, 242, 306, 343, 352, 368)
"""Rows of the subset ``id``: one plain view of each of 16 classes. They were chosen by eye, and by no model."""
TEMPLATE = "a photo of a {}."


class Batch(NamedTuple):
    """N RGB pictures and the N texts that describe them, in the same order."""

    images: tuple[Image.Image, ...]
    texts: tuple[str, ...]


@cache
def embedded_batch() -> Batch:
    """Return the batch.

    Raises:
        DataError: the showroom's file is missing or damaged.

    >>> embedded_batch().texts[:2]
    ('a photo of a chair.', 'a photo of a table.')
    """
    table = pyarrow.parquet.read_table(showroom.data_file("id"), columns=["image", "label"]).take(list(ROWS))
    rows = table.to_pylist()
    images = tuple(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows)
    return Batch(images, tuple(TEMPLATE.format(row["label"]) for row in rows))
