"""Feature store: the features of images, texts and pairs, by model and content digest.

Each key has a folder of immutable Parquet shards, and rows are found by digest. There is no lock: processes that encode
the same sample at the same time write it twice, which costs nothing but space.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

import fsspec
import numpy as np
from cachetools import LRUCache
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from pytest_clip_robust import __version__
from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.encoding.store.contents import Hashes, ShardContents, hashes_of
from pytest_clip_robust.encoding.store.shard import (
    DAMAGED,
    FORMAT_VERSION,
    DamagedShardError,
    ShardRows,
    UnknownFormatError,
    dimensions_of,
    pack,
    provenance_of,
    unpack,
)
from pytest_clip_robust.errors import ModelError, StoreError
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.notice import Notice, log_notice

SHARD_ROWS = 4096
"""At most this many rows per shard, 8 MB at 512 dimensions."""

WRITES_AT_ONCE = 8
"""Shards on their way to an object store. One request takes some hundredths of a second, in which a GPU would wait."""

RECENT_BYTES = 64 * 2**20
"""Memory for the shards that were read last. Prompts of many sets share small shards: without this memory, the number
of reads would grow with the square of the number of sets."""
DIGEST_BYTES = 113
"""Memory of one digest, a Python string of 64 characters."""


Write = Callable[[Sequence[str], NDArray[np.float32]], None]
"""Stores the (N, D) features of N samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKey:
    """Everything that features depend on, except the sample.

    kind: what a row describes. Rows for pairs of views and pairs of pictures with keypoints hold the matches' errors,
        and places where some matches are in both views; those of large multimodal models hold log-probabilities of
        candidates, or the tokens of an answer.
    weights: digest of the parameters. transform: digest of the preprocessing of images, of the tokenizer, or of what is
        asked.
    precision: ``"fp32"``, or what `LoadedModel.arithmetic` says of half precision, such as ``"bf16-cuda"``.
    """

    kind: Literal["image", "text", "views", "places", "keypoints", "likelihoods", "answers"]
    weights: str
    transform: str
    precision: str

    @property
    def folder(self) -> str:
        """Name of the key's folder: a readable part, then a digest of all fields."""
        return _folder_of(self)


@lru_cache(maxsize=1024)
def _folder_of(key: StoreKey) -> str:
    """Return the name of a key's folder; a read needs it for every shard."""
    words = f"{key.kind}-{key.precision}-{key.weights[:8]}"
    return f"{''.join(char if char.isalnum() or char == '-' else '_' for char in words)}-{digest(asdict(key))[:32]}"


class _Sent(NamedTuple):
    """A shard on its way to the store; `arrive` returns once it is there, or raises why it cannot be written."""

    name: str
    rows: ShardRows
    arrive: Callable[[], None]


def key_in(provenance: Mapping[str, str]) -> StoreKey | None:
    """Return the key that a shard was written under; None if its provenance has none, or one of another form."""
    try:
        return StoreKey(**json.loads(provenance["key"]))
    except (KeyError, ValueError, TypeError):
        return None


class FeatureStore:
    """Features by key and digest, in a local folder or at any fsspec URL.

    Rows that cannot be written (full disk, read-only folder) stay in memory, and the run continues with one notice.
    """

    def __init__(self, root: str | os.PathLike[str], *, notice: Notice = log_notice) -> None:
        """Open the store at `root`, which does not have to exist yet.

        Raises:
            StoreError: the URL's protocol is unknown, or needs a package that is not installed.
        """
        self.root = os.fspath(root)
        self._files, self._path = _open(self.root)
        self._notice = notice
        self._noticed: set[str] = set()
        self._in_memory: dict[StoreKey, list[ShardRows]] = defaultdict(list)
        self._recent: LRUCache[str, ShardRows] = LRUCache(RECENT_BYTES, getsizeof=_size)
        self._contents = ShardContents()
        self._made: set[str] = set()
        self._making = Lock()

    def read(self, key: StoreKey, digests: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (N, D) features of N samples and an (N,) mask of the samples found; the other rows are zero.

        D is 0 if nothing is stored under `key`. Damaged shards are renamed, and their rows are not found.

        Raises:
            StoreError: the folder cannot be listed.
        """
        row_of = {digest: row for row, digest in enumerate(dict.fromkeys(digests))}
        features = np.zeros((len(row_of), 0), np.float32)
        found = np.zeros(len(row_of), np.bool_)
        for rows in self._rows(key, hashes_of(row_of)):
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
        """Store the (N, D) `features` of N samples.

        Raises:
            ModelError: a feature is NaN or infinite; nothing is written.
        """
        with self.writing(key) as write:
            write(digests, features)

    @contextmanager
    def writing(self, key: StoreKey) -> Iterator[Write]:
        """Yield a function that stores features as `write` does, again and again.

        To object stores, shards are sent while the caller goes on. At the end of the block all have arrived.
        """
        sent: deque[_Sent] = deque()
        at_once = WRITES_AT_ONCE if self._sends_from_threads else 1
        with ThreadPoolExecutor(at_once) if at_once > 1 else nullcontext() as pool:

            def write(digests: Sequence[str], features: NDArray[np.float32]) -> None:
                _check_finite(digests, features)
                for part in row_slices(len(digests), SHARD_ROWS):
                    rows = ShardRows(list(digests[part]), np.ascontiguousarray(features[part], np.float32))
                    name, content = pack(rows, provenance=_provenance(key))
                    put = partial(self._put, f"{self._path}/{key.folder}", name, content)
                    sent.append(_Sent(name, rows, put if pool is None else pool.submit(put).result))
                    while len(sent) >= at_once:
                        self._note(key, sent.popleft())

            try:
                yield write
            finally:
                while sent:
                    self._note(key, sent.popleft())

    def keys(self, weights: str) -> list[StoreKey]:
        """Return the keys of everything that is stored for the parameters with the digest `weights`.

        Raises:
            StoreError: the folder cannot be listed.
        """
        found = []
        for folder in self._folders():
            names = self._shard_names_in(folder)
            key = self._key_of(f"{self._path}/{folder}/{names[0]}") if names else None
            if key is not None and key.weights == weights and key.folder == folder:
                found.append(key)
        return found

    def all_rows(self, key: StoreKey) -> ShardRows:
        """Return every row of `key`, sorted by digest; damaged shards are renamed, and left out."""
        rows = {
            digest: row for part in self._rows(key) for digest, row in zip(part.digests, part.features, strict=True)
        }
        digests = sorted(rows)
        return ShardRows(digests, np.stack([rows[one] for one in digests]) if rows else np.zeros((0, 0), np.float32))

    @property
    def rows_in_memory(self) -> int:
        """Number of rows that could not be written and are lost when the process ends."""
        return sum(len(rows.digests) for kept in self._in_memory.values() for rows in kept)

    def location(self, key: StoreKey) -> str:
        """Return the folder with the features of `key`, for messages."""
        return f"{self.root.rstrip('/')}/{key.folder}"

    @property
    def _sends_from_threads(self) -> bool:
        """Whether threads can share the connection: fsspec runs asynchronous file systems in one loop."""
        return bool(getattr(self._files, "async_impl", False))

    def _note(self, key: StoreKey, sent: _Sent) -> None:
        """Wait until a shard is written; if it cannot be, its rows stay in memory."""
        try:
            sent.arrive()
        except OSError as error:
            self._made.clear()  # another process can have removed the folder
            self._in_memory[key].append(sent.rows)
            self._notice_once(
                f"feature store {self.root}: cannot be written ({error.strerror or error}); "
                "new features stay in memory and are lost after this run"
            )
        else:
            self._contents.note(f"{self._path}/{key.folder}/{sent.name}", sent.rows.digests)

    def _put(self, folder: str, name: str, content: bytes) -> None:
        """Write a file atomically: readers see all of it or nothing."""
        if isinstance(self._files, LocalFileSystem):
            write_whole(Path(folder, name), content)
            return
        with self._making:
            if folder not in self._made:  # which costs a request
                self._files.makedirs(folder, exist_ok=True)
                self._made.add(folder)
        self._files.pipe_file(f"{folder}/{name}", content)  # object stores show a file only when it is complete

    def _rows(self, key: StoreKey, wanted: Hashes | None = None) -> Iterator[ShardRows]:
        """Yield the rows in memory, then those of every shard, all with the same number of dimensions.

        wanted: hashes of samples; a shard that is known to hold none of them is not read, and yields no rows.
        """
        names = self._shard_names(key)
        kept = self._in_memory.get(key, [])
        expected = _most_frequent([rows.features.shape[1] for rows in kept] or [_dimensions(name) for name in names])
        yield from kept
        for name in names:
            if _dimensions(name) != expected:
                self._set_aside(key, name, f"it has {_dimensions(name)} dimensions, the other shards have {expected}")
            elif wanted is not None and self._contents.lacks(f"{self._path}/{key.folder}/{name}", wanted):
                yield ShardRows([], np.zeros((0, expected), np.float32))
            elif (rows := self._read_shard(key, name)) is not None:
                yield rows

    def _shard_names(self, key: StoreKey) -> list[str]:
        return self._shard_names_in(key.folder)

    def _shard_names_in(self, folder: str) -> list[str]:
        return [name for name in self._names_in(f"{self._path}/{folder}") if dimensions_of(name) is not None]

    def _folders(self) -> list[str]:
        """Return the names of the keys' folders."""
        return [name for name in self._names_in(self._path) if "." not in name]

    def _names_in(self, folder: str) -> list[str]:
        # fsspec caches the listings of object stores, but another process can have written in the meantime.
        self._files.invalidate_cache(folder)
        try:
            paths = self._files.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"feature store {self.root}: cannot be read ({error.strerror or error}): give another --clip-cache"
            ) from error
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def _key_of(self, path: str) -> StoreKey | None:
        """Return the key that a shard was written under; None if it cannot be read."""
        try:
            return key_in(provenance_of(self._files.cat_file(path)))
        except OSError:
            return None

    def _read_shard(self, key: StoreKey, name: str) -> ShardRows | None:
        path = f"{self._path}/{key.folder}/{name}"
        if (recent := self._recent.get(path)) is not None:
            return recent  # the name has the digest of the content, so that this is what was written
        try:
            rows = unpack(name, self._files.cat_file(path))
        except FileNotFoundError:
            return None  # another process also found it damaged, and renamed it first
        except (DamagedShardError, OSError) as error:
            self._set_aside(key, name, str(error))
        except UnknownFormatError as version:
            self._notice_once(
                f"feature store {self.location(key)}: shards of format {version} are ignored; "
                f"this version reads format {FORMAT_VERSION}"
            )
        else:
            self._contents.note(path, rows.digests)
            if _size(rows) <= RECENT_BYTES:
                self._recent[path] = rows
            return rows
        return None

    def _set_aside(self, key: StoreKey, name: str, reason: str) -> None:
        path = f"{self._path}/{key.folder}/{name}"
        self._notice(f"feature store: {path} is set aside: {reason}; its rows will be encoded again")
        try:
            self._files.mv(path, f"{path}{DAMAGED}")
        except OSError:
            return  # it is gone already, or the store is read-only: in both cases its rows are not used

    def _notice_once(self, line: str) -> None:
        if line not in self._noticed:
            self._noticed.add(line)
            self._notice(line)


def _check_finite(digests: Sequence[str], features: NDArray[np.float32]) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ModelError(f"the features of {digests[int(finite.argmin())]} are NaN or infinite: they are not stored")


def _size(rows: ShardRows) -> int:
    return int(rows.features.nbytes) + DIGEST_BYTES * len(rows.digests)


def _open(root: str) -> tuple[Any, str]:
    if "://" not in root:
        return LocalFileSystem(), str(Path(root).expanduser().absolute())
    try:
        files, path = fsspec.core.url_to_fs(root)
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(
            f"feature store {root!r}: {reason}: give a local folder, or install the package for this kind of URL"
        ) from error
    return files, path.rstrip("/")


def _take(rows: ShardRows, row_of: Mapping[str, int], features: NDArray[np.float32], found: NDArray[np.bool_]) -> None:
    """Copy the rows that are in `row_of` to their places in `features`."""
    places = [(source, row_of[digest]) for source, digest in enumerate(rows.digests) if digest in row_of]
    if places:
        sources, targets = map(list, zip(*places, strict=True))
        features[targets] = rows.features[sources]
        found[targets] = True


def _provenance(key: StoreKey) -> dict[str, str]:
    return {"key": json.dumps(asdict(key), sort_keys=True), "writer": f"pytest-clip-robust {__version__}"}


def _dimensions(name: str) -> int:
    return dimensions_of(name) or 0


def _most_frequent(dimensions: Sequence[int]) -> int:
    """Return the most frequent number, so that one wrong shard does not exclude the others."""
    return Counter(dimensions).most_common(1)[0][0] if dimensions else 0
