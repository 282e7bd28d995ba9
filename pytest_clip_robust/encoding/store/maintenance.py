"""Maintenance of a feature store in a local folder: what it holds, whether it is intact, and what can be removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_clip_robust.encoding.store.features import key_in
from pytest_clip_robust.encoding.store.shard import dimensions_of, is_intact, provenance_in
from pytest_clip_robust.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Everything under one key of a store.

    kind, weights, precision: of the key; weights is ``""`` if no shard can be read.
    rows, shards: how many. size: bytes. newest: the time of the last write, in seconds since 1970.
    leftovers: shards that were set aside, and unfinished ones.
    """

    folder: Path
    kind: str
    weights: str
    precision: str
    rows: int
    shards: int
    size: int
    newest: float
    leftovers: int


def survey(root: Path) -> list[Stored]:
    """Return what a store holds, by key; nothing if there is no such folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        return [_stored(folder) for folder in folders]
    except OSError as error:
        raise StoreError(f"feature store {root}: cannot be read ({error.strerror or error})") from error


def damaged_shards(stored: Iterable[Stored], *, advance: Callable[[int], None]) -> list[Path]:
    """Return the shards whose bytes do not match the SHA-256 in their names; `advance` gets the bytes of each shard."""
    found = []
    for path in (path for one in stored for path in _shards(one.folder)):
        content = path.read_bytes()
        if not is_intact(path.name, content):
            found.append(path)
        advance(len(content))
    return found


def removable(stored: Sequence[Stored], *, before: float | None = None, most: int | None = None) -> list[Stored]:
    """Return the keys to remove, the least recently written first.

    before: all that were last written before this time, in seconds since 1970. most: as many as bring the rest to at
    most this number of bytes.
    """
    by_age = sorted(stored, key=lambda one: (one.newest, one.folder.name))
    chosen = [one for one in by_age if before is not None and one.newest < before]
    left = sum(one.size for one in by_age) - sum(one.size for one in chosen)
    for one in by_age[len(chosen) :]:
        if most is None or left <= most:
            break
        chosen.append(one)
        left -= one.size
    return chosen


def remove(folder: Path) -> None:
    """Remove a key's folder; its features are encoded again when they are needed.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be removed: {error.strerror or error}") from error


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if dimensions_of(path.name) is not None)


def _stored(folder: Path) -> Stored:
    files = [path for path in folder.rglob("*") if path.is_file()]
    shards = _shards(folder)
    rows, key = 0, None
    for path in shards:
        try:
            metadata = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            continue
        rows += metadata.num_rows
        key = key or key_in(provenance_in(metadata.metadata or {}))
    stats = [path.stat() for path in files]
    return Stored(
        folder=folder,
        kind=key.kind if key else folder.name.partition("-")[0],
        weights=key.weights if key else "",
        precision=key.precision if key else "",
        rows=rows,
        shards=len(shards),
        size=sum(one.st_size for one in stats),
        newest=max((one.st_mtime for one in stats), default=folder.stat().st_mtime),
        leftovers=len(files) - len(shards),
    )
