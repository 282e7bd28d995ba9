"""Opening of Parquet and webdataset files and of hub repositories with Hugging Face `datasets`."""

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.arrow import Opened, column_values, quiet_datasets
from pytest_clip_robust.datasets.sources.prepared import prepare
from pytest_clip_robust.datasets.sources.rows import file_stamps
from pytest_clip_robust.datasets.sources.splits import (
    SPLIT,
    chosen_split,
    no_such_split,
    refuse_missing_shards,
    split_files,
    split_of_path,
    split_remark,
    split_rows,
)
from pytest_clip_robust.datasets.sources.walk import is_tool_path, walk
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder
from pytest_clip_robust.system.text import one_line

SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}
NAMES_FILE = "classnames.txt"
TAR_END = 1024
"""Bytes of the two empty blocks at the end of a tar."""


def open_files(entry: DataEntry, kind: str, cache_dir: str | None) -> Opened:
    """Open local files of `kind` parquet or webdataset.

    Raises:
        DataError: there is no such file or split, or a file cannot be read; the message names the set.
    """
    suffix = SUFFIXES[kind]
    location = Path(entry.location)
    if is_folder(location):
        base = location
        files = [str(base / path) for path in walk(entry, base).others if path.lower().endswith(suffix)]
    else:
        found = [path for path in glob.glob(entry.location, recursive=True) if is_file(Path(path))]  # noqa: PTH207
        base = Path(os.path.commonpath([Path(path).parent for path in found])) if found else location.parent
        files = sorted(path for path in found if not is_tool_path(Path(path).relative_to(base)))
    if not files:
        raise DataError(f"data set {entry.name!r}: no {suffix} file at {location}")
    named, by_name = split_files(entry, base, files)
    if is_folder(location) or len(named) > 1:
        refuse_missing_shards(entry, named)
    remarks = split_remark(entry, split_of_path(Path(named[0]).relative_to(base).as_posix()), _splits(base, files))
    if kind == "webdataset":
        for file in named:
            _refuse_truncated(entry, Path(file))
    stamps = file_stamps(named)
    stamp = None if None in stamps else digest(stamps)
    table = _load_files(entry, kind, named, cache_dir, stamp)
    names_file = base / NAMES_FILE
    opened = Opened(
        table,
        list(range(len(table))),
        names_file if is_file(names_file) else None,
        str(base),
        stamp=stamp,
        remarks=remarks,
    )
    return _of_split(entry, _without_tool_samples(opened), settled=by_name)


def _splits(base: Path, files: Sequence[str]) -> set[str]:
    return {split_of_path(Path(file).relative_to(base).as_posix()) for file in files} - {""}


def _refuse_truncated(entry: DataEntry, path: Path) -> None:
    """Refuse a tar without its end mark: readers of tars take a truncated one for a short one.

    Raises:
        DataError: the file does not end with two empty blocks.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAR_END))
        if size < TAR_END or file.read().strip(b"\0"):
            raise DataError(
                f"data set {entry.name!r}: {path} cannot be read: it is truncated or not a .tar; copy it again"
            )


def _without_tool_samples(opened: Opened) -> Opened:
    """Leave out samples of a tar that are hidden files or those of tools."""
    if "__key__" not in opened.table.features:
        return opened
    kept = [row for row, key in enumerate(column_values(opened.table, "__key__")) if not is_tool_path(key)]
    return opened if len(kept) == len(opened.table) else opened.take(kept)


def _of_split(entry: DataEntry, opened: Opened, *, settled: bool) -> Opened:
    """Keep the rows of the entry's split, if the table has a column of splits.

    Raises:
        DataError: the entry names a split that neither the files nor the rows have.
    """
    if SPLIT not in opened.table.features:
        if entry.split and not settled:
            raise no_such_split(entry, f"neither file names nor a column {SPLIT!r} name splits")
        return opened
    feature = opened.table.features[SPLIT]
    values = column_values(opened.table, SPLIT)
    if hasattr(feature, "int2str"):
        values = [None if value is None else feature.int2str(value) for value in values]
    kept = split_rows(entry, values, entry.location, settled=settled)
    if kept is None:
        return opened
    remarks = split_remark(entry, str(values[int(kept[0])]), map(str, values))
    return replace(opened.take(kept.tolist()), remarks=(*opened.remarks, *remarks))


def open_hub(entry: DataEntry, cache_dir: str | None) -> Opened:
    """Open a data set on the hub, from the cache if the hub cannot be reached.

    Raises:
        DataError: there is no such data set, or it cannot be read; the message names the set.
    """
    from pytest_clip_robust.system.hub import reachable, unreachable  # noqa: PLC0415 - as late as `datasets`

    try:
        with quiet_datasets():
            import datasets  # noqa: PLC0415 - takes seconds

            online = not datasets.config.HF_HUB_OFFLINE and reachable()  # HF_DATASETS_OFFLINE counts here only
            with _offline_unless(online=online):
                split = entry.split or chosen_split(entry, datasets.get_dataset_split_names(entry.location))
                table = prepare(
                    lambda folder: datasets.load_dataset(entry.location, split=split, cache_dir=folder), cache_dir
                )
    except DataError:
        raise
    except (ConnectionError, FileNotFoundError) as error:
        state = "has no such data set" if online else f"{unreachable()}, and it is not cached"
        raise DataError(
            f"data set {entry.name!r}: no folder {entry.location} here, and the hub {state}; "
            f"give a local copy with --clip-data {entry.name}=/path"
        ) from error
    except Exception as error:  # third-party builders raise any exception
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error
    opened = Opened(
        table,
        list(range(len(table))),
        _names_from_hub(entry.location) if online else None,
        roots=_hub_caches(cache_dir),
        stamp=str(table._fingerprint),  # noqa: SLF001 - the hub's files do not change; `datasets` keys its caches by it
    )
    return _of_split(entry, opened, settled=True)


def _load_files(entry: DataEntry, builder: str, files: Sequence[str], cache_dir: str | None, stamp: str | None) -> Any:
    """Read local files with a builder of `datasets`.

    `datasets` reads again what it prepared before as long as a file's time of modification is the same. So the stamp is
    part of the name of what it prepares, and a file that replaces another one is prepared again.

    Raises:
        DataError: they cannot be read; the message names the set.
    """
    name = f"files-{stamp[:24] if stamp else uuid.uuid4().hex[:24]}"
    patterns = [glob.escape(file) for file in files]
    try:
        with quiet_datasets():
            import datasets  # noqa: PLC0415 - takes seconds

            with _offline_unless(online=False):
                return prepare(
                    lambda folder: datasets.load_dataset(
                        builder, name=name, data_files={"data": patterns}, split="data", cache_dir=folder
                    ),
                    cache_dir,
                )
    except Exception as error:  # third-party builders raise any exception
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error


def _hub_caches(cache_dir: str | None) -> tuple[str, ...]:
    """Return the folders that files of the hub are in: a row that names any other file names one of this machine."""
    import datasets  # noqa: PLC0415 - takes seconds
    from huggingface_hub import constants  # noqa: PLC0415 - takes seconds

    config = datasets.config
    found = (constants.HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, cache_dir)
    return tuple(os.path.abspath(one) for one in found if one)  # noqa: PTH100 - links are not followed


def _names_from_hub(repository: str) -> Path | None:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - takes seconds
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - takes seconds

    try:
        return Path(hf_hub_download(repository, NAMES_FILE, repo_type="dataset"))
    except (HfHubHTTPError, OSError):
        return None


@contextmanager
def _offline_unless(*, online: bool) -> Iterator[None]:
    """Restrict `datasets` to its cache if the hub cannot be reached, which would cost half a minute per file.

    It also counts every load, of local files as well, by a request to the hub; here it does not.
    """
    import datasets  # noqa: PLC0415 - takes seconds

    config = datasets.config
    before = config.HF_HUB_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS
    config.HF_HUB_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS = before[0] or not online, False
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS = before


def _why(error: BaseException) -> str:
    """Return the message of `error`, with the cause that `datasets` hides behind its own errors."""
    cause = error.__cause__ or error.__context__
    text = one_line(error)
    return f"{text}: {one_line(cause)}" if cause is not None and one_line(cause) not in text else text
