"""Objects with semantic keypoints: SPair-71k (Min et al. 2019).

    JPEGImages/CLASS/NAME.jpg
    ImageAnnotation/CLASS/NAME.json         kps: [x, y] or null per keypoint; bndbox: left, top, right, bottom
    PairAnnotation/SPLIT/NUMBER-NAME-NAME:CLASS.json    src_imname, trg_imname, category, viewpoint_variation
    Layout/large/SPLIT.txt                  the pairs of the split, one per line; without it all pair files

SPLIT is trn, val or test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointRows, Point
from pytest_clip_robust.datasets.correspondence.layouts.files import existing_file
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import file_rows
from pytest_clip_robust.datasets.sources.splits import chosen_split
from pytest_clip_robust.datasets.sources.walk import check_inside, visible
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder, read_json, read_text
from pytest_clip_robust.system.text import printable

PAIRS = "PairAnnotation"
VIEWPOINTS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class _Object:
    """The annotation of an image's object."""

    points: dict[str, Point]
    box: tuple[float, float, float, float]


def is_spair(root: Path) -> bool:
    """Return whether the folder has annotations of pairs."""
    return is_folder(root / PAIRS)


def read_spair(entry: DataEntry, root: Path) -> KeypointRows:
    """Read the pairs of one split, by default ``test``, and the images in them.

    An image with objects of two classes is read once for each.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    where = f"data set {entry.name!r}"
    if not is_spair(root):
        raise DataError(f"{where}: no folder {PAIRS} in {root}")
    splits = [path.name for path in visible((root / PAIRS).iterdir()) if is_folder(path)]
    split = chosen_split(entry, splits, ("test",))
    views: dict[tuple[str, str], int] = {}
    pairs, viewpoints = [], []
    for path in _pair_files(root, split, where):
        pair = read_json(path, dict, where)
        label, names = _named(pair, f"{where}: {path}")
        pairs.append([views.setdefault((label, name), len(views)) for name in names])
        viewpoints.append(_viewpoint(pair, f"{where}: {path}"))
    if not pairs:
        raise DataError(f"{where}: no pairs in {root / PAIRS / split}")
    for label, name in views:
        check_inside(root, str(root / "JPEGImages" / f"{label}/{name}"), where)
    objects = [_object(root / "ImageAnnotation" / label / f"{Path(name).stem}.json", where) for label, name in views]
    samples = [f"{label}/{name}" for label, name in views]
    paths = [str(existing_file(root / "JPEGImages" / sample, where)) for sample in samples]
    pictures = file_rows(samples, paths, origin=f"{root}|{split}")
    return KeypointRows(
        pictures=replace(pictures, labels=[label for label, _ in views]),
        points=[one.points for one in objects],
        boxes=np.array([one.box for one in objects]),
        instances=samples,
        pairs=np.array(pairs, np.int64),
        viewpoints=np.array(viewpoints, np.int64),
    )


def _pair_files(root: Path, split: str, where: str) -> Iterator[Path]:
    folder, listing = root / PAIRS / split, root / "Layout" / "large" / f"{split}.txt"
    if not is_file(listing):
        yield from visible(folder.glob("*.json"))
        return
    for line in read_text(listing, where).splitlines():
        if line.strip():
            yield existing_file(folder / f"{line.strip()}.json", f"{where}: {listing}")


def _named(pair: dict[str, Any], where: str) -> tuple[str, list[str]]:
    values = [pair.get(key) for key in ("category", "src_imname", "trg_imname")]
    if not all(isinstance(value, str) and value and "/" not in value for value in values):
        raise DataError(f"{where}: category, src_imname and trg_imname are {values}; expected three names")
    label, *names = map(str, values)
    return label, names


def _viewpoint(pair: dict[str, Any], where: str) -> int:
    value = pair.get("viewpoint_variation")
    if value not in VIEWPOINTS:
        raise DataError(f"{where}: viewpoint_variation={value!r}; expected 0, 1 or 2")
    return int(value)


def _object(path: Path, where: str) -> _Object:
    annotation = read_json(path, dict, where)
    points, box = annotation.get("kps"), annotation.get("bndbox")
    try:
        seen = {str(name): _numbers(point, 2) for name, point in dict(points or {}).items() if point is not None}
        left, top, right, bottom = _numbers(box, 4)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {path}: {printable(str(error))}; expected kps of [x, y] and a bndbox") from None
    return _Object({name: (x, y) for name, (x, y) in seen.items()}, (left, top, right, bottom))


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{str(value)[:60]} is not a list of {count} numbers")
    return [float(one) for one in value]
