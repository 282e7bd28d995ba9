"""A shard: some rows of the feature store as the bytes of one Parquet file.

Its name carries the number of dimensions and the SHA-256 of its bytes. Parquet's page checksums, which other readers
can use, cover pages only; the name covers the footer as well, so that any damage is found.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

FORMAT_VERSION = "1"

_VERSION_FIELD = b"clip_robust.format"
_NAME = re.compile(r"(?P<dimensions>[1-9]\d*)d-(?P<sha256>[0-9a-f]{64})\.parquet")


@dataclass(frozen=True, slots=True)
class Rows:
    """`digests` of n samples and their (n, D) float32 `features`."""

    digests: Sequence[str]
    features: NDArray[np.float32]


class DamagedShardError(Exception):
    """The bytes are not what the shard's name promises; the message says how."""


class UnknownFormatError(Exception):
    """The shard is whole, but written in a format that this release does not know; the message is its version."""


def pack(rows: Rows, *, provenance: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the name and the content of the shard that holds `rows`; equal rows give equal bytes."""
    dimensions = rows.features.shape[1]
    metadata = {_VERSION_FIELD: FORMAT_VERSION} | {f"clip_robust.{key}": value for key, value in provenance.items()}
    table = pa.table(
        [
            pa.array(rows.digests, pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows.features)), dimensions),
        ],
        schema=_schema(dimensions).with_metadata(metadata),
    )
    buffer = io.BytesIO()
    # Features do not compress and no one filters by them: plain pages without statistics read fastest.
    pq.write_table(
        table, buffer, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
    )
    content = buffer.getvalue()
    return f"{dimensions}d-{hashlib.sha256(content).hexdigest()}.parquet", content


def unpack(name: str, content: bytes) -> Rows:
    """Return the rows of the shard called `name`, its features without a copy.

    Raises:
        DamagedShardError: the content is not the one that was named, or not a shard.
        UnknownFormatError: another release wrote it.
    """
    parts = _NAME.fullmatch(name)
    if parts is None or hashlib.sha256(content).hexdigest() != parts["sha256"]:
        raise DamagedShardError("its bytes do not match the SHA-256 in its name")
    try:
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedShardError("it is no Parquet file") from error
    version = (table.schema.metadata or {}).get(_VERSION_FIELD, b"none").decode(errors="replace")
    if version != FORMAT_VERSION:
        raise UnknownFormatError(version)
    return _rows(table, int(parts["dimensions"]))


def dimensions_of(name: str) -> int | None:
    """Return the D that a shard's name promises, or None when `name` is no shard's name.

    >>> dimensions_of("512d-" + 64 * "0" + ".parquet")
    512
    >>> dimensions_of("notes.txt")
    """
    parts = _NAME.fullmatch(name)
    return int(parts["dimensions"]) if parts else None


def _rows(table: pa.Table, dimensions: int) -> Rows:
    if not table.schema.equals(_schema(dimensions)):
        raise DamagedShardError(f"its columns are not a digest and a list of {dimensions} float32")
    features = table.column("feature").combine_chunks().flatten().to_numpy(zero_copy_only=True)
    return Rows(table.column("digest").to_pylist(), features.reshape(-1, dimensions))


def _schema(dimensions: int) -> pa.Schema:
    item = pa.field("item", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("digest", pa.string(), nullable=False),
            pa.field("feature", pa.list_(item, dimensions), nullable=False),
        ]
    )
