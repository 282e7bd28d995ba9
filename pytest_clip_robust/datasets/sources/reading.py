"""Where images come from: each kind of location becomes Rows, through Hugging Face `datasets` wherever it can.

Images stay undecoded; nothing here knows what a label means.
"""

from __future__ import annotations

import csv
import glob
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.cue_names import read_cues
from pytest_clip_robust.datasets.images.depth import SUFFIXES as DEPTH_SUFFIXES
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.prepared import prepare
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import FACTORS, KEYPOINT_FORMATS, VIEW_FORMATS
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "file", "file_name", "filename", "path", "bytes")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
LABEL_NAMES = ("label", "labels", "cls", "class", "class_name", "wnid", "fine_label", "category", "target")
NAMES_FILE = "classnames.txt"
SETTLED_SECONDS = 2
"""A file changed more recently could change again without its time of change showing it."""

TEXTURE = "texture"
DEPTH = "depth"
INTRINSICS = "intrinsics"
BYTES_OR_PATHS = frozenset({"binary", "large_binary", "string", "large_string"})
FLAGS = {"1": True, "0": False, "true": True, "false": False}

Label = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """N images with their labels as the files have them.

    labels: strings, or positions in `names` where that is not None.
    textures: of a cue-conflict set, the names of the classes whose surface the images show.
    depth: the reader of N depth maps and their stamps; intrinsics: (N, 3, 3) float32 in pixels.
    stamps: what changes whenever an image's bytes change, or None; origin: names the set of stamps.
    """

    read: ImageReader
    samples: list[str]
    labels: list[Label]
    stamps: list[str | None]
    origin: str
    names: tuple[str, ...] | None = None
    textures: list[Label] | None = None
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    depth: tuple[ImageReader, list[str | None]] | None = None
    intrinsics: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads image files."""

    paths: Sequence[str]

    def __call__(self, index: int, /) -> bytes:
        """Return the file of image `index`."""
        return Path(self.paths[index]).read_bytes()


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
            raise DataError(f"column {self.column!r} has no image there")
        return content


def read_rows(entry: DataEntry, cache_dir: str | None, *, labelled: bool = True) -> Rows:
    """Find out how `entry` is stored and read its rows; `cache_dir` is where `datasets` may write.

    Without `labelled`, a set that has no labels is one class, of the set's name.

    Raises:
        DataError: nothing is there, or not in that form; the message names the set.
    """
    entry = _located(entry)
    kind = _kind(entry)
    if kind == "imagefolder" and not labelled and _is_flat(Path(_resolved(entry, kind).location)):
        return _flat_folder(_resolved(entry, kind))
    readers: dict[str, Callable[[DataEntry, str | None], Rows]] = {
        "imagefolder": _image_folder,
        "cue-conflict": _cue_conflict,
        "table": partial(_table, labelled=labelled),
        "parquet": partial(_arrow_files, labelled=labelled),
        "webdataset": partial(_arrow_files, labelled=labelled),
        "hub": partial(_hub, labelled=labelled),
    }
    rows = readers[kind](_resolved(entry, kind), cache_dir)
    if not rows.samples:
        raise DataError(f"data set {entry.name!r}: no images in {entry.location}")
    return rows


def _located(entry: DataEntry) -> DataEntry:
    """Return the entry with a location, the file's own for a subset of the showroom."""
    if not entry.location:
        raise DataError(f"data set {entry.name!r} has no location here; give one with --clip-data {entry.name}=/path")
    if entry.location.startswith(showroom.PREFIX):
        path = showroom.data_file(entry.location.removeprefix(showroom.PREFIX))
        return replace(entry, location=str(path), format="parquet")
    return entry


def _kind(entry: DataEntry) -> str:
    _refuse_compared(entry)
    if entry.format != "auto":
        return entry.format
    if entry.table:
        return "table"
    path = Path(entry.location).expanduser()
    if path.is_dir():
        for suffix, kind in ((".parquet", "parquet"), (".tar", "webdataset")):
            if next(path.rglob(f"*{suffix}"), None) is not None:
                return kind
        return "cue-conflict" if _has_cue_names(path) else "imagefolder"
    for suffix, kind in ((".parquet", "parquet"), (".tar", "webdataset")):
        if entry.location.endswith(suffix):
            return kind
    if path.exists():
        raise DataError(f"data set {entry.name!r}: {entry.location} is neither a folder nor a .parquet or .tar file")
    if entry.location.count("/") == 1 and not entry.location.startswith((".", "~", "/")):
        return "hub"
    raise DataError(f"data set {entry.name!r}: no file or folder {entry.location}")


def _refuse_compared(entry: DataEntry) -> None:
    """Refuse the formats of pictures that are compared with each other, which have readers of their own."""
    if entry.format in {*VIEW_FORMATS, *KEYPOINT_FORMATS}:
        role = "views" if entry.format in VIEW_FORMATS else "keypoints"
        raise DataError(f"data set {entry.name!r}: format {entry.format!r} is read as {role} alone; add ?role={role}")


def _resolved(entry: DataEntry, kind: str) -> DataEntry:
    """Step into the folder of the split, where the location is local and has one."""
    if kind == "hub":
        return entry
    path = Path(entry.location).expanduser().absolute()
    if entry.split and (path / entry.split).is_dir():
        path /= entry.split
    return replace(entry, location=str(path))


def _is_flat(root: Path) -> bool:
    return root.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir())


def _flat_folder(entry: DataEntry) -> Rows:
    """Read every image of a folder, however deep, as one class."""
    root = Path(entry.location)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    samples = [str(path.relative_to(root)) for path in paths]
    rows = _files(samples, [str(path) for path in paths], [entry.name] * len(paths), None, origin=str(root))
    return replace(rows, depth=_depth_files(entry, samples))


def _image_folder(entry: DataEntry, cache_dir: str | None) -> Rows:
    root = Path(entry.location)
    if not root.is_dir():
        raise DataError(f"data set {entry.name!r}: no folder {root}")
    # Naming the files keeps `datasets` from reading a class called "test" as a split.
    found = _load(entry, "imagefolder", f"{glob.escape(str(root))}/**", cache_dir, drop_labels=False)
    if "label" not in found.features:
        raise DataError(f"data set {entry.name!r}: {root} has no folder a class; lay images out as CLASS/IMAGE")
    paths = [row["path"] for row in found["image"]]
    stray = next((path for path in paths if Path(path).parent == root), None)
    if stray is not None:
        raise DataError(f"data set {entry.name!r}: {stray} lies in no class folder; lay images out as CLASS/IMAGE")
    samples = [str(Path(path).relative_to(root)) for path in paths]
    rows = _files(samples, paths, list(found["label"]), tuple(found.features["label"].names), origin=str(root))
    return replace(rows, depth=_depth_files(entry, samples))


def _has_cue_names(root: Path) -> bool:
    first = next((path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES), None)
    return first is not None and read_cues(first.name) is not None


def _cue_conflict(entry: DataEntry, _: str | None) -> Rows:
    """Read images named SHAPE1-TEXTURE2, in one folder or in folders of any name."""
    root = Path(entry.location)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    shapes: list[Label] = []
    textures: list[Label] = []
    for path in paths:
        cues = read_cues(path.name)
        if cues is None:
            raise DataError(
                f"data set {entry.name!r}: {path} has no SHAPE1-TEXTURE2 in its name, as airplane1-bicycle2.png has"
            )
        shapes.append(cues.shape)
        textures.append(cues.texture)
    rows = _files([path.name for path in paths], [str(path) for path in paths], shapes, None, origin=str(root))
    return replace(rows, textures=textures)


def _table(entry: DataEntry, _: str | None, *, labelled: bool) -> Rows:
    """Read a CSV file with the standard library: pandas, beneath `datasets`, would turn a label 007 into 7."""
    root = Path(entry.location)
    path = root / (entry.table or "labels.csv")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data set {entry.name!r}: table {path} cannot be read: {error}") from error
    image = _image_column(entry, columns)
    label = _label_column(entry, columns, labelled=labelled)
    for number, line in enumerate(lines, start=2):
        for column in (image, label) if label else (image,):
            if not line[column]:
                raise DataError(f"data set {entry.name!r}: {path}, line {number} has no {column!r}")
        if not (root / line[image]).is_file():
            raise DataError(f"data set {entry.name!r}: {path}, line {number}: no file {root / line[image]}")
    rows = _files(
        [line[image] for line in lines],
        [str(root / line[image]) for line in lines],
        [line[label] if label else entry.name for line in lines],
        None,
        origin=str(path),
    )
    return replace(
        rows,
        textures=_texture_names(entry, columns, lambda column: [line[column] for line in lines]),
        annotations=_factors(entry, columns, lambda factor: [line[factor] for line in lines]),
        depth=_depth_of_table(entry, columns, lines),
    )


def _files(
    samples: list[str], paths: list[str], labels: list[Any], names: tuple[str, ...] | None, *, origin: str
) -> Rows:
    return Rows(
        read=FileReader(paths), samples=samples, labels=labels, names=names, stamps=_stamps(paths), origin=origin
    )


def _depth_files(entry: DataEntry, samples: Sequence[str]) -> tuple[ImageReader, list[str | None]] | None:
    """Find the depth map of every image in the folder that the entry names."""
    if not entry.depth:
        return None
    folder = Path(entry.depth).expanduser()
    paths = []
    for sample in samples:
        places = [folder / Path(sample).with_suffix(suffix) for suffix in DEPTH_SUFFIXES]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(f"data set {entry.name!r}: no depth map {places[0]} for {sample!r}")
        paths.append(str(found))
    return FileReader(paths), _stamps(paths)


def _depth_of_table(
    entry: DataEntry, columns: Sequence[str], lines: Sequence[Mapping[str, str]]
) -> tuple[ImageReader, list[str | None]] | None:
    column = entry.depth or DEPTH
    if column not in columns:
        return _depth_files(entry, [line[_image_column(entry, columns)] for line in lines])
    paths = [str(Path(entry.location) / line[column]) for line in lines]
    missing = next((path for path in paths if not Path(path).is_file()), None)
    if missing is not None:
        raise DataError(f"data set {entry.name!r}: no depth map {missing}")
    return FileReader(paths), _stamps(paths)


def _stamps(paths: Sequence[str]) -> list[str | None]:
    settled = time.time_ns() - SETTLED_SECONDS * 10**9
    stamps: list[str | None] = []
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            stamps.append(None)  # reading it will say what is wrong
            continue
        unchanging = status.st_mtime_ns < settled
        stamps.append(f"{path}|{status.st_size}|{status.st_mtime_ns}" if unchanging else None)
    return stamps


def open_table(entry: DataEntry, cache_dir: str | None) -> Any:
    """Open a Parquet, webdataset or hub location, or a subset of the showroom, as a `datasets.Dataset`.

    Raises:
        DataError: nothing is there, or not in that form; the message names the set.
    """
    entry = _located(entry)
    kind = _kind(entry)
    if kind not in {"parquet", "webdataset", "hub"}:
        raise DataError(
            f"data set {entry.name!r}: {entry.location} holds no .parquet and no .tar files; "
            "name the listing of its images with ?table="
        )
    opened = _open_hub(entry, cache_dir) if kind == "hub" else _open_files(_resolved(entry, kind), cache_dir)
    if not len(opened.found):
        raise DataError(f"data set {entry.name!r}: no rows in {entry.location}")
    return opened.found


def table_images(entry: DataEntry, found: Any, *, column: str = "") -> Rows:
    """Return the images of a table's `column`, by default the entry's or the usual one; all of one class.

    Raises:
        DataError: there is no such column, or it holds no images.
    """
    images, image = _images(entry, found, column or entry.image)
    return Rows(
        read=ArrowReader(images, image),
        samples=_sample_names(images, image, found),
        labels=[entry.name] * len(found),
        stamps=[str(row) for row in range(len(found))],
        origin=f"{images._fingerprint}|{image}",  # noqa: SLF001 - `datasets` keys its own caches by it
    )


def table_depth(entry: DataEntry, found: Any) -> tuple[ImageReader, list[str | None]] | None:
    """Return the reader of a table's depth maps and their stamps; None, where it has none.

    Raises:
        DataError: the entry names a column that is not there, or one of something else.
    """
    import datasets  # noqa: PLC0415

    column = entry.depth or DEPTH
    if column not in found.features:
        if entry.depth:
            _column(entry, "depth", column, (), list(found.features))
        return None
    feature = found.features[column]
    if not isinstance(feature, datasets.Image | dict) and getattr(feature, "dtype", "") not in BYTES_OR_PATHS:
        raise DataError(f"data set {entry.name!r}: column {column!r} of type {feature} holds no depth maps")
    with _quiet():
        maps = found.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return ArrowReader(maps, column), [str(row) for row in range(len(found))]


def table_intrinsics(entry: DataEntry, found: Any) -> NDArray[np.float32] | None:
    """Return a table's (N, 3, 3) camera matrices, nine numbers a row or three rows of three; None, where it has none.

    Raises:
        DataError: a row has not nine numbers.
    """
    if INTRINSICS not in found.features:
        return None
    try:
        return np.array(list(found[INTRINSICS]), np.float32).reshape(-1, 3, 3)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"data set {entry.name!r}: column {INTRINSICS!r} has no nine numbers a row; expected a 3 x 3 camera matrix"
        ) from error


def table_column(entry: DataEntry, found: Any, column: str) -> list[Any]:
    """Return the values of a table's column.

    Raises:
        DataError: a row has none.
    """
    values = list(found[column])
    if None in values:
        raise DataError(f"data set {entry.name!r}: row {values.index(None)} has no {column!r}")
    return values


def file_rows(names: Sequence[str], paths: Sequence[str], *, origin: str) -> Rows:
    """Return image files as rows of one class."""
    return _files(list(names), list(paths), [""] * len(paths), None, origin=origin)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A `datasets.Dataset`, and the file of class names that lies beside it, if any."""

    found: Any
    names_file: Path | None


def _arrow_files(entry: DataEntry, cache_dir: str | None, *, labelled: bool) -> Rows:
    opened = _open_files(entry, cache_dir)
    return _arrow(entry, opened.found, names_file=opened.names_file, labelled=labelled)


def _open_files(entry: DataEntry, cache_dir: str | None) -> _Opened:
    kind = _kind(entry)
    suffix = {"parquet": ".parquet", "webdataset": ".tar"}[kind]
    location = Path(entry.location)
    if location.is_dir():
        files = sorted(str(path) for path in location.rglob(f"*{suffix}"))
    else:
        files = sorted(glob.glob(entry.location))  # noqa: PTH207 - the pattern may be absolute
    files = [file for file in files if Path(file).is_file()]
    if not files:
        raise DataError(f"data set {entry.name!r}: no {suffix} file at {location}")
    beside = (location if location.is_dir() else Path(files[0]).parent) / NAMES_FILE
    found = _load(entry, kind, [glob.escape(file) for file in files], cache_dir)
    return _Opened(found, beside if beside.is_file() else None)


def _hub(entry: DataEntry, cache_dir: str | None, *, labelled: bool) -> Rows:
    opened = _open_hub(entry, cache_dir)
    return _arrow(entry, opened.found, names_file=opened.names_file, labelled=labelled)


def _open_hub(entry: DataEntry, cache_dir: str | None) -> _Opened:
    from pytest_clip_robust.system.hub import reachable  # noqa: PLC0415 - as late as `datasets`

    try:
        with _quiet():
            import datasets  # noqa: PLC0415

            online = reachable()
            with _offline_unless(online):
                split = entry.split or _only_split(entry, datasets.get_dataset_split_names(entry.location))
                found = prepare(
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
    except Exception as error:  # builders of foreign data raise whatever they meet
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error
    return _Opened(found, _names_from_hub(entry.location) if online else None)


@contextmanager
def _offline_unless(online: bool) -> Iterator[None]:  # noqa: FBT001 - read as a sentence
    """Have `datasets` look into its cache alone, where asking the hub would cost half a minute a file."""
    import datasets  # noqa: PLC0415

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not online
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _only_split(entry: DataEntry, splits: Sequence[str]) -> str:
    for split in ("test", "validation", "val"):
        if split in splits:
            return split
    if len(splits) == 1:
        return splits[0]
    raise DataError(f"data set {entry.name!r}: {entry.location} has the splits {', '.join(splits)}; add ?split=NAME")


def _names_from_hub(repository: str) -> Path | None:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        return Path(hf_hub_download(repository, NAMES_FILE, repo_type="dataset"))
    except (HfHubHTTPError, OSError):
        return None


def _load(entry: DataEntry, builder: str, files: str | list[str], cache_dir: str | None, **options: Any) -> Any:
    try:
        with _quiet():
            import datasets  # noqa: PLC0415

            found = prepare(
                lambda folder: datasets.load_dataset(
                    builder, data_files={"data": files}, split="data", cache_dir=folder, **options
                ),
                cache_dir,
            )
            if builder == "imagefolder":
                found = found.cast_column("image", datasets.Image(decode=False))
    except Exception as error:  # builders of foreign data raise whatever they meet
        if any(words in str(error) for words in ("doesn't contain any data", "corresponds to no data")):
            raise DataError(f"data set {entry.name!r}: no images in {entry.location}") from error
        raise DataError(f"data set {entry.name!r}: {entry.location} cannot be read: {_why(error)}") from error
    return found


def _images(entry: DataEntry, found: Any, image: str) -> tuple[Any, str]:
    """Return the column of images alone, undecoded, and its name."""
    import datasets  # noqa: PLC0415

    columns = list(found.features)
    typed = next((name for name, feature in found.features.items() if isinstance(feature, datasets.Image)), "")
    image = image or typed or _column(entry, "image", "", IMAGE_NAMES, columns)
    image = _column(entry, "image", image, (), columns)
    with _quiet():
        try:
            return found.select_columns([image]).cast_column(image, datasets.Image(decode=False)), image
        except Exception as error:
            raise DataError(
                f"data set {entry.name!r}: column {image!r} of type {found.features[image]} holds no images"
            ) from error


def _arrow(entry: DataEntry, found: Any, *, names_file: Path | None, labelled: bool) -> Rows:
    columns = list(found.features)
    label = _label_column(entry, columns, labelled=labelled)
    images, image = _images(entry, found, entry.image)
    labels = list(found[label]) if label else [entry.name] * len(found)
    blank = next((row for row, value in enumerate(labels) if value is None or value == -1), None)
    if blank is not None:
        raise DataError(f"data set {entry.name!r}: row {blank} of {entry.location} has no {label!r}")
    stranger = next((value for value in labels if not isinstance(value, str | int)), None)
    if stranger is not None:
        raise DataError(f"data set {entry.name!r}: {label}={stranger!r} is neither a name nor a whole number")
    names = getattr(found.features[label], "names", None) if label else None
    if names is None and names_file is not None and isinstance(labels[0] if labels else "", int):
        names = names_file.read_text(encoding="utf-8").splitlines()
    return Rows(
        read=ArrowReader(images, image),
        samples=_sample_names(images, image, found),
        labels=labels,
        stamps=[str(row) for row in range(len(found))],
        origin=str(images._fingerprint),  # noqa: SLF001 - `datasets` keys its own caches by it
        names=None if names is None else tuple(names),
        textures=_texture_names(entry, columns, lambda column: list(found[column])),
        annotations=_factors(entry, columns, lambda factor: list(found[factor])),
        depth=table_depth(entry, found),
        intrinsics=table_intrinsics(entry, found),
    )


def _sample_names(images: Any, image: str, found: Any) -> list[str]:
    if "__key__" in found.features:
        return list(found["__key__"])
    # Straight from Arrow: a row's path without its bytes.
    paths = images.data.column(image).combine_chunks().field("path").to_pylist()
    return [f"row {row}: {Path(path).name}" if path else f"row {row}" for row, path in enumerate(paths)]


def _image_column(entry: DataEntry, columns: Sequence[str]) -> str:
    return _column(entry, "image", entry.image, IMAGE_NAMES, columns)


def _column(entry: DataEntry, what: str, wanted: str, usual: Sequence[str], columns: Sequence[str]) -> str:
    found = wanted or next((name for name in usual if name in columns), "")
    if found not in columns:
        missing = (
            f"no column {wanted!r}{did_you_mean(wanted, columns)}" if wanted else f"no column looks like the {what}"
        )
        raise DataError(f"data set {entry.name!r}: {missing}; it has {', '.join(columns)}; name one with ?{what}=")
    return found


def _texture_names(entry: DataEntry, columns: Sequence[str], values: Callable[[str], list[Any]]) -> list[Label] | None:
    """Read the column `texture`, unless it is a visual factor: then it holds nothing but 0 and 1."""
    if TEXTURE not in columns:
        return None
    names = values(TEXTURE)
    if all(str(name).lower() in FLAGS for name in names):
        return None
    bad = next((row for row, name in enumerate(names) if not isinstance(name, str) or not name), None)
    if bad is not None:
        raise DataError(f"data set {entry.name!r}: row {bad}: texture={names[bad]!r}; expected the name of a class")
    return names


def _label_column(entry: DataEntry, columns: Sequence[str], *, labelled: bool) -> str:
    """Name the column of labels, or ``""`` where none is needed and none is there."""
    if not labelled and not entry.label and not any(name in columns for name in LABEL_NAMES):
        return ""
    return _column(entry, "label", entry.label, LABEL_NAMES, columns)


def _factors(
    entry: DataEntry, columns: Sequence[str], values: Callable[[str], list[Any]]
) -> dict[str, NDArray[np.bool_]]:
    """Read the factor columns that the entry names, or else the known ones that hold nothing but 0 and 1.

    A cue-conflict set has columns ``shape`` and ``texture`` as well, which hold class names.
    """
    annotations = {}
    for factor in entry.factors or (factor for factor in FACTORS if factor in columns):
        _column(entry, "factors", factor, (), columns)
        flags = [FLAGS.get(str(value).lower()) for value in values(factor)]
        if None not in flags:
            annotations[factor] = np.array(flags, dtype=np.bool_)
        elif entry.factors:
            row = flags.index(None)
            raise DataError(f"data set {entry.name!r}: row {row}: {factor}={values(factor)[row]!r}; expected 0 or 1")
    return annotations


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `datasets` from drawing bars and from warning of what is none of the user's business."""
    with quiet():
        from datasets import utils  # noqa: PLC0415 - seconds, paid by runs that read data

    bars = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        if not bars:
            utils.enable_progress_bars()


def _why(error: BaseException) -> str:
    """Name what `datasets` hides behind its own errors."""
    cause = error.__cause__ or error.__context__
    text = one_line(error)
    return f"{text}: {one_line(cause)}" if cause is not None and one_line(cause) not in text else text
