"""Limits for files that are larger when they are read than on disk: a few kilobytes can ask for all memory."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

from pytest_clip_robust.system.machine import BYTES_PER_GIB, free_memory

WITHOUT_REPORT = 8.0
"""GiB that may be read where the system does not report its free memory."""

CHUNK = 1 << 20

BYTES_OF_A_VALUE = 4
"""Features and probabilities have 4 bytes each."""


class ExpansionError(ValueError):
    """A file needs more memory than there is; the message says how much."""


def check_size(size: int) -> None:
    """Check that `size` bytes fit into the free memory.

    Raises:
        ExpansionError: they do not.
    """
    free = free_memory()
    limit = WITHOUT_REPORT if free is None else free
    if size > limit * BYTES_PER_GIB:
        raise ExpansionError(
            f"it is {size / BYTES_PER_GIB:,.1f} GiB when it is read, and {limit:,.1f} GiB of memory are free"
        )


def check_zip(path: Path) -> None:
    """Check that all members of a ZIP archive, such as NPZ, fit into memory together.

    Raises:
        ExpansionError: they do not. zipfile.BadZipFile, OSError: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        check_size(sum(member.file_size for member in archive.infolist()))


def check_gzip(path: Path) -> None:
    """Check that the content of a gzip file fits into memory, by reading it once without keeping it.

    Raises:
        ExpansionError: it does not. OSError, EOFError: it cannot be read.
    """
    size = 0
    with gzip.open(path) as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            check_size(size)


def check_parquet(metadata: Any) -> None:
    """Check that a Parquet file fits into memory, by its `metadata` of pyarrow: pages, and one number per value.

    Encodings can hold a thousand million equal values in a few bytes.

    Raises:
        ExpansionError: it does not.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    pages = sum(group.total_byte_size for group in groups)
    values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    check_size(max(pages, values * BYTES_OF_A_VALUE))
