"""Parquet, webdataset and hub data sets, read with Hugging Face `datasets`; images stay undecoded."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.columns import (
    DEPTH,
    IMAGE_NAMES,
    INTRINSICS,
    factor_columns,
    find_column,
    label_column,
    texture_names,
)
from pytest_clip_robust.datasets.sources.prepared import prepare
from pytest_clip_robust.datasets.sources.rows import DepthRows, Rows
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}
NAMES_FILE = "classnames.txt"
BYTES_OR_PATHS = frozenset({"binary", "large_binary", "string", "large_string"})


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads the images of a column of a memory-mapped `datasets.Dataset`."""

    dataset: Any
    column: str

    def __call__(self, index: int, /) -> bytes:
        """Return the encoded image of row `index`."""
        value = self.dataset[index][self.column]
        content: bytes | None = value and value["bytes"]
        if content is None and value and value["path"] and Path(value["path"]).is_file():
            content = Path(value["path"]).read_bytes()
        if content is None:
            raise DataError(f"column {self.column!r} has no image in this row")
        return content


@dataclass(frozen=True, slots=True)
class Opened:
    """A `datasets.Dataset`, and the file of class names next to it, if there is one."""

    table: Any
    names_file: Path | None


def open_files(entry: DataEntry, kind: str, cache_dir: str | None) -> Opened:
    """Open local files of `kind` parquet or webdataset.

    Raises:
        DataError: there is no such file, or one cannot be read; the message names the set.
    """
    suffix = SUFFIXES[kind]
    location = Path(entry.location)
    if location.is_dir():
        files = sorted(str(path) for path in location.rglob(f"*{suffix}"))
    else:
        files = sorted(glob.glob(entry.location))  # noqa: PTH207 - the pattern may be absolute
    files = [file for file in files if Path(file).is_file()]
    if not files:
        raise DataError(f"data set {entry.name!r}: no {suffix} file at {location}")
    names_file = (location if location.is_dir() else Path(files[0]).parent) / NAMES_FILE
    table = load_files(entry, kind, [glob.escape(file) for file in files], cache_dir)
    return Opened(table, names_file if names_file.is_file() else None)


def open_hub(entry: DataEntry, cache_dir: str | None) -> Opened:
    """Open a data set on the hub, from the cache if the hub cannot be reached.

    Raises:
        DataError: there is no such data set, or it cannot be read; the message names the set.
    """
    from pytest_clip_robust.system.hub import reachable  # noqa: PLC0415 - as late as `datasets`

    try:
        with _quiet():
            import datasets  # noqa: PLC0415 - takes seconds

            online = reachable()
            with _offline_unless(online):
                split = entry.split or _only_split(entry, datasets.get_dataset_split_names(entry.location))
                table = prepare(
                    lambda folder: datasets.load_dataset(entry.location, split=split, cache_dir=folder), cache_dir
                )
    except DataError:
        raise
    except (ConnectionError, FileNotFoundError) as error:
        state = "has no such data set" if online else "cannot be reached, and it is not cached"
        raise DataError(
            f"data set {entry.name!r}: no folder {entry.location} here, and the hub {state}; "
            f"give a local copy with --clip-data {entry.name}=/path"
        ) from error
    except Exception as error:  # third-party builders raise any exception
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error
    return Opened(table, _names_from_hub(entry.location) if online else None)


def load_files(entry: DataEntry, builder: str, files: str | list[str], cache_dir: str | None, **options: Any) -> Any:
    """Read local files with a builder of `datasets`.

    Raises:
        DataError: they hold no images, or cannot be read; the message names the set.
    """
    try:
        with _quiet():
            import datasets  # noqa: PLC0415 - takes seconds

            table = prepare(
                lambda folder: datasets.load_dataset(
                    builder, data_files={"data": files}, split="data", cache_dir=folder, **options
                ),
                cache_dir,
            )
            if builder == "imagefolder":
                table = table.cast_column("image", datasets.Image(decode=False))
    except Exception as error:  # third-party builders raise any exception
        if any(words in str(error) for words in ("doesn't contain any data", "corresponds to no data")):
            raise DataError(f"data set {entry.name!r}: no images in {entry.location}") from error
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error
    return table


def arrow_rows(entry: DataEntry, opened: Opened, *, labelled: bool) -> Rows:
    """Return the images of a table with their labels, textures, visual factors and depth.

    Raises:
        DataError: a column is missing, or a row has no label.
    """
    table = opened.table
    columns = list(table.features)
    label = label_column(entry, columns, labelled=labelled)
    images, image = _image_column(entry, table, entry.image)
    labels = list(table[label]) if label else [entry.name] * len(table)
    empty = next((row for row, value in enumerate(labels) if value is None or value == -1), None)
    if empty is not None:
        raise DataError(f"data set {entry.name!r}: row {empty} of {entry.location} has no {label!r}")
    unusable = next((value for value in labels if not isinstance(value, str | int)), None)
    if unusable is not None:
        raise DataError(f"data set {entry.name!r}: {label}={unusable!r} is neither a name nor a whole number")
    names = getattr(table.features[label], "names", None) if label else None
    if names is None and opened.names_file is not None and isinstance(labels[0] if labels else "", int):
        names = opened.names_file.read_text(encoding="utf-8").splitlines()

    def values(column: str) -> list[Any]:
        return list(table[column])

    return Rows(
        read=ArrowReader(images, image),
        samples=_sample_names(images, image, table),
        labels=labels,
        stamps=[str(row) for row in range(len(table))],
        origin=str(images._fingerprint),  # noqa: SLF001 - `datasets` keys its own caches by it
        names=None if names is None else tuple(names),
        textures=texture_names(entry, columns, values),
        annotations=factor_columns(entry, columns, values),
        depth=table_depth(entry, table),
        intrinsics=table_intrinsics(entry, table),
    )


def table_images(entry: DataEntry, table: Any, *, column: str = "") -> Rows:
    """Return the images of a table's `column`, by default the entry's or the usual one, as rows of one class.

    Raises:
        DataError: there is no such column, or it does not hold images.
    """
    images, image = _image_column(entry, table, column or entry.image)
    return Rows(
        read=ArrowReader(images, image),
        samples=_sample_names(images, image, table),
        labels=[entry.name] * len(table),
        stamps=[str(row) for row in range(len(table))],
        origin=f"{images._fingerprint}|{image}",  # noqa: SLF001 - `datasets` keys its own caches by it
    )


def table_depth(entry: DataEntry, table: Any) -> DepthRows | None:
    """Return a table's depth maps; None if it has none.

    Raises:
        DataError: the entry names a column that does not exist or does not hold depth maps.
    """
    import datasets  # noqa: PLC0415 - takes seconds

    column = entry.depth or DEPTH
    if column not in table.features:
        if entry.depth:
            find_column(entry, "depth", column, (), list(table.features))
        return None
    feature = table.features[column]
    if not isinstance(feature, datasets.Image | dict) and getattr(feature, "dtype", "") not in BYTES_OR_PATHS:
        raise DataError(f"data set {entry.name!r}: column {column!r} of type {feature} does not hold depth maps")
    with _quiet():
        maps = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return DepthRows(ArrowReader(maps, column), [str(row) for row in range(len(table))])


def table_intrinsics(entry: DataEntry, table: Any) -> NDArray[np.float32] | None:
    """Return a table's (N, 3, 3) camera matrices; None if it has none. A row is nine numbers or three rows of three.

    Raises:
        DataError: a row does not have nine numbers.
    """
    if INTRINSICS not in table.features:
        return None
    try:
        return np.array(list(table[INTRINSICS]), np.float32).reshape(-1, 3, 3)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"data set {entry.name!r}: column {INTRINSICS!r} does not have nine numbers per row; "
            "expected a 3 x 3 camera matrix"
        ) from error


def table_column(entry: DataEntry, table: Any, column: str) -> list[Any]:
    """Return the values of a table's column.

    Raises:
        DataError: a row has no value.
    """
    values = list(table[column])
    if None in values:
        raise DataError(f"data set {entry.name!r}: row {values.index(None)} has no {column!r}")
    return values


def _image_column(entry: DataEntry, table: Any, image: str) -> tuple[Any, str]:
    """Return a table of the undecoded images only, and the name of its column."""
    import datasets  # noqa: PLC0415 - takes seconds

    columns = list(table.features)
    typed = next((name for name, feature in table.features.items() if isinstance(feature, datasets.Image)), "")
    image = image or typed or find_column(entry, "image", "", IMAGE_NAMES, columns)
    image = find_column(entry, "image", image, (), columns)
    with _quiet():
        try:
            return table.select_columns([image]).cast_column(image, datasets.Image(decode=False)), image
        except Exception as error:
            raise DataError(
                f"data set {entry.name!r}: column {image!r} of type {table.features[image]} does not hold images"
            ) from error


def _sample_names(images: Any, image: str, table: Any) -> list[str]:
    if "__key__" in table.features:
        return list(table["__key__"])
    # Read from Arrow directly: a row's path without its bytes.
    paths = images.data.column(image).combine_chunks().field("path").to_pylist()
    return [f"row {row}: {Path(path).name}" if path else f"row {row}" for row, path in enumerate(paths)]


def _only_split(entry: DataEntry, splits: Sequence[str]) -> str:
    for split in ("test", "validation", "val"):
        if split in splits:
            return split
    if len(splits) == 1:
        return splits[0]
    raise DataError(f"data set {entry.name!r}: {entry.location} has the splits {', '.join(splits)}; add ?split=NAME")


def _names_from_hub(repository: str) -> Path | None:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - takes seconds
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - takes seconds

    try:
        return Path(hf_hub_download(repository, NAMES_FILE, repo_type="dataset"))
    except (HfHubHTTPError, OSError):
        return None


@contextmanager
def _offline_unless(online: bool) -> Iterator[None]:  # noqa: FBT001 - reads as a sentence
    """Restrict `datasets` to its cache if the hub cannot be reached, which would cost half a minute per file."""
    import datasets  # noqa: PLC0415 - takes seconds

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not online
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and warnings of `datasets`."""
    with quiet():
        from datasets import utils  # noqa: PLC0415 - takes seconds

    bars = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        if not bars:
            utils.enable_progress_bars()


def _why(error: BaseException) -> str:
    """Return the message of `error`, with the cause that `datasets` hides behind its own errors."""
    cause = error.__cause__ or error.__context__
    text = one_line(error)
    return f"{text}: {one_line(cause)}" if cause is not None and one_line(cause) not in text else text
