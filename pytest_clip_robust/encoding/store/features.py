"""The feature store: what a model made of an image or a text, kept for whoever asks again.

A folder a key, immutable Parquet shards in it, rows found by content digest. No lock is held: processes that encode the
same sample at the same time write it twice, which costs space and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from pytest_clip_robust import __version__
from pytest_clip_robust.encoding.store.shard import (
    DamagedShardError,
    Rows,
    UnknownFormatError,
    dimensions_of,
    pack,
    unpack,
)
from pytest_clip_robust.errors import ModelError, StoreError
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.notice import Notice, log_notice

SHARD_ROWS = 4096
"""At most this many rows a shard, 8 MB at 512 dimensions: a reader holds one shard beside its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKey:
    """What features hang on besides the sample; change one and they are other features.

    kind: what the rows are of; those of pairs of views, and of pairs with keypoints, hold how far off matches were.
    weights: digest of the parameters. transform: digest of the preprocessing of images, or of the tokenizer.
    precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
    """

    kind: Literal["image", "text", "views", "keypoints"]
    weights: str
    transform: str
    precision: str

    @property
    def folder(self) -> str:
        """Name the key's folder: a few words for people, then a digest of everything."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        words = f"{self.kind}-{self.precision}-{self.weights[:8]}"
        return f"{''.join(char if char.isalnum() or char == '-' else '_' for char in words)}-{digest[:32]}"


class FeatureStore:
    """Features by key and digest, in a local folder or behind any fsspec URL.

    What cannot be written (a full disk, a read-only folder) is kept in memory, so that the run goes on, and said once.
    """

    def __init__(self, root: str | os.PathLike[str], *, notice: Notice = log_notice) -> None:
        """Open the store at `root`, which need not exist yet.

        Raises:
            StoreError: the URL's protocol is unknown, or needs a package that is not installed.
        """
        self.root = os.fspath(root)
        self._files, self._path = _open(self.root)
        self._notice = notice
        self._said: set[str] = set()
        self._in_memory: dict[StoreKey, list[Rows]] = defaultdict(list)

    def read(self, key: StoreKey, digests: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (N, D) features of N samples and an (N,) mask of those found; the other rows are zero.

        D is 0 when nothing is stored under `key`. Damaged shards are set aside and their rows not found.

        Raises:
            StoreError: the folder cannot be listed.
        """
        row_of = {digest: row for row, digest in enumerate(dict.fromkeys(digests))}
        features = np.zeros((len(row_of), 0), np.float32)
        found = np.zeros(len(row_of), np.bool_)
        for rows in self._rows(key):
            if features.shape[1] == 0:
                features = np.zeros((len(row_of), rows.features.shape[1]), np.float32)
            _take(rows, row_of, features, found)
            if found.all():
                break
        if len(row_of) == len(digests):
            return features, found
        places = np.array([row_of[digest] for digest in digests])
        return features[places], found[places]

    def write(self, key: StoreKey, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Keep the (N, D) `features` of N samples.

        Raises:
            ModelError: a feature is NaN or infinite; nothing is written.
        """
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise ModelError(
                f"the features of {digests[int(finite.argmin())]} are NaN or infinite: they are not stored"
            )
        for start in range(0, len(digests), SHARD_ROWS):
            part = slice(start, start + SHARD_ROWS)
            self._write_shard(key, Rows(list(digests[part]), np.ascontiguousarray(features[part], np.float32)))

    @property
    def rows_in_memory(self) -> int:
        """Count the rows that could not be written, and are lost when the process ends."""
        return sum(len(rows.digests) for kept in self._in_memory.values() for rows in kept)

    def location(self, key: StoreKey) -> str:
        """Name the folder that holds the features of `key`, for messages."""
        return f"{self.root.rstrip('/')}/{key.folder}"

    def _write_shard(self, key: StoreKey, rows: Rows) -> None:
        name, content = pack(rows, provenance=_provenance(key))
        try:
            _put(self._files, f"{self._path}/{key.folder}", name, content)
        except OSError as error:
            self._in_memory[key].append(rows)
            self._say_once(
                f"feature store {self.root}: cannot be written ({error.strerror or error}); "
                "new features are kept in memory and lost after this run"
            )

    def _rows(self, key: StoreKey) -> Iterator[Rows]:
        """Yield what memory holds, then every shard, all of one number of dimensions."""
        names = self._shard_names(key)
        kept = self._in_memory.get(key, [])
        expected = _usual([rows.features.shape[1] for rows in kept] or [_dimensions(name) for name in names])
        yield from kept
        for name in names:
            if _dimensions(name) != expected:
                self._set_aside(key, name, f"it has {_dimensions(name)} numbers a row, the others {expected}")
            elif (rows := self._read_shard(key, name)) is not None:
                yield rows

    def _shard_names(self, key: StoreKey) -> list[str]:
        folder = f"{self._path}/{key.folder}"
        # Listings of object stores are cached by fsspec; another process may have written since.
        self._files.invalidate_cache(folder)
        try:
            paths = self._files.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"feature store {self.root}: cannot be read ({error.strerror or error}): give another folder"
            ) from error
        names = (path.rpartition("/")[2] for path in paths)
        return sorted(name for name in names if dimensions_of(name) is not None)

    def _read_shard(self, key: StoreKey, name: str) -> Rows | None:
        try:
            return unpack(name, self._files.cat_file(f"{self._path}/{key.folder}/{name}"))
        except FileNotFoundError:
            return None  # another process found it damaged, too, and was faster
        except (DamagedShardError, OSError) as error:
            self._set_aside(key, name, str(error))
        except UnknownFormatError as version:
            self._say_once(f"feature store {self.location(key)}: shards of format {version} are ignored")
        return None

    def _set_aside(self, key: StoreKey, name: str, reason: str) -> None:
        path = f"{self._path}/{key.folder}/{name}"
        self._notice(f"feature store: {path} is set aside: {reason}; its rows will be encoded again")
        try:
            self._files.mv(path, f"{path}.damaged")
        except OSError:
            return  # gone already, or a read-only store: either way its rows are not used

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._notice(line)


def _open(root: str) -> tuple[Any, str]:
    if "://" not in root:
        return LocalFileSystem(), str(Path(root).expanduser().absolute())
    try:
        files, path = fsspec.core.url_to_fs(root)
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(
            f"feature store {root!r}: {reason}: give a local folder or install what the URL needs"
        ) from error
    return files, path.rstrip("/")


def _put(files: Any, folder: str, name: str, content: bytes) -> None:
    """Write a file whole: readers see all of it or nothing."""
    if not isinstance(files, LocalFileSystem):
        files.makedirs(folder, exist_ok=True)
        files.pipe_file(f"{folder}/{name}", content)  # one put, which object stores make visible at its end
        return
    write_whole(Path(folder, name), content)


def _take(rows: Rows, row_of: Mapping[str, int], features: NDArray[np.float32], found: NDArray[np.bool_]) -> None:
    """Copy the wanted ones of `rows` to their places."""
    places = [(source, row_of[digest]) for source, digest in enumerate(rows.digests) if digest in row_of]
    if places:
        sources, targets = map(list, zip(*places, strict=True))
        features[targets] = rows.features[sources]
        found[targets] = True


def _provenance(key: StoreKey) -> dict[str, str]:
    return {"key": json.dumps(asdict(key), sort_keys=True), "writer": f"pytest-clip-robust {__version__}"}


def _dimensions(name: str) -> int:
    return dimensions_of(name) or 0


def _usual(dimensions: Sequence[int]) -> int:
    """Return the most frequent number, so that one odd shard cannot condemn the others."""
    return Counter(dimensions).most_common(1)[0][0] if dimensions else 0
