"""Shards: rows of the feature store as one Parquet file each.

A shard's name contains the number of dimensions and the SHA-256 of the file. Parquet's own page checksums, for other
readers, do not cover the footer; the SHA-256 covers every byte, so that any damage is detected.
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

from pytest_clip_robust.system.expansion import ExpansionError, check_parquet

FORMAT_VERSION = "1"

DAMAGED = ".damaged"
"""What is added to the name of a shard that is set aside."""

_VERSION_FIELD = b"clip_robust.format"
_NAME = re.compile(r"(?P<dimensions>[1-9]\d*)d-(?P<sha256>[0-9a-f]{64})\.parquet")


@dataclass(frozen=True, slots=True)
class ShardRows:
    """The `digests` of n samples and their (n, D) float32 `features`."""

    digests: Sequence[str]
    features: NDArray[np.float32]


class DamagedShardError(Exception):
    """The content does not match the shard's name; the message says why."""


class UnknownFormatError(Exception):
    """The shard is intact, but in a format that this release cannot read; the message is the format's version."""


def pack(rows: ShardRows, *, provenance: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the name and the content of a shard with `rows`; equal rows give equal bytes."""
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
    # Features do not compress, and no query filters by them: plain pages without statistics are read fastest.
    pq.write_table(
        table, buffer, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
    )
    content = buffer.getvalue()
    return f"{dimensions}d-{hashlib.sha256(content).hexdigest()}.parquet", content


def is_intact(name: str, content: bytes) -> bool:
    """Return whether the bytes of a shard are those that its name states."""
    parts = _NAME.fullmatch(name)
    return parts is not None and hashlib.sha256(content).hexdigest() == parts["sha256"]


def unpack(name: str, content: bytes) -> ShardRows:
    """Return the rows of the shard called `name`; the features are not copied.

    Raises:
        DamagedShardError: the content does not match the name, or is not a shard.
        UnknownFormatError: another release wrote the shard.
    """
    parts = _NAME.fullmatch(name)
    if parts is None or not is_intact(name, content):
        raise DamagedShardError("its bytes do not match the SHA-256 in its name")
    try:
        check_parquet(pq.read_metadata(pa.BufferReader(content)))
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
    except ExpansionError as error:
        raise DamagedShardError(str(error)) from error
    except (pa.ArrowException, OSError) as error:
        raise DamagedShardError("it is not a Parquet file") from error
    version = (table.schema.metadata or {}).get(_VERSION_FIELD, b"none").decode(errors="replace")
    if version != FORMAT_VERSION:
        raise UnknownFormatError(version)
    return _rows(table, int(parts["dimensions"]))


def provenance_of(content: bytes) -> dict[str, str]:
    """Return the provenance that a shard was packed with; empty if it is damaged.

    >>> rows = ShardRows(["a"], np.ones((1, 2), np.float32))
    >>> provenance_of(pack(rows, provenance={"writer": "me"})[1])
    {'writer': 'me'}
    """
    try:
        metadata = pq.read_schema(pa.BufferReader(content)).metadata or {}
    except (pa.ArrowException, OSError):
        return {}
    return provenance_in(metadata)


def provenance_in(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the provenance that is in the metadata of a shard's schema."""
    start = _VERSION_FIELD.partition(b".")[0] + b"."
    fields = {name.removeprefix(start): value for name, value in metadata.items() if name != _VERSION_FIELD}
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}


def dimensions_of(name: str) -> int | None:
    """Return the D in a shard's name, or None if `name` is not the name of a shard.

    >>> dimensions_of("512d-" + 64 * "0" + ".parquet")
    512
    >>> dimensions_of("notes.txt")
    """
    parts = _NAME.fullmatch(name)
    return int(parts["dimensions"]) if parts else None


def _rows(table: pa.Table, dimensions: int) -> ShardRows:
    if not table.schema.equals(_schema(dimensions)):
        raise DamagedShardError(f"its columns are not a digest and a list of {dimensions} float32")
    features = table.column("feature").combine_chunks().flatten().to_numpy(zero_copy_only=True)
    return ShardRows(table.column("digest").to_pylist(), features.reshape(-1, dimensions))


def _schema(dimensions: int) -> pa.Schema:
    item = pa.field("item", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("digest", pa.string(), nullable=False),
            pa.field("feature", pa.list_(item, dimensions), nullable=False),
        ]
    )
