"""ObjectNet as its authors publish it: images of 313 classes, and a mapping to the 113 that ImageNet has as well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import Label, Rows, file_rows
from pytest_clip_robust.datasets.sources.walk import Walk, refuse_unreadable
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import read_text
from pytest_clip_robust.system.text import printable

FOLDERS, OVERLAP = "mappings/folder_to_objectnet_label.json", "mappings/objectnet_to_imagenet_1k.json"
IMAGES = "images"


def is_objectnet(found: Walk) -> bool:
    """Return whether a folder holds ObjectNet's mappings."""
    return {FOLDERS, OVERLAP} <= set(found.others)


def objectnet(entry: DataEntry, found: Walk) -> Rows:
    """Read ``images/CLASS/IMAGE`` of the classes that the mappings say ImageNet has; the others are left out.

    A class has the name of its label in the mappings, in lower case, and classes have the order of their folders, as
    in published zero-shot results.

    Raises:
        DataError: a mapping is missing, is damaged, or has a class without a folder; or an image cannot be read.
    """
    refuse_unreadable(entry, found)
    root = Path(entry.location)
    if not is_objectnet(found):
        raise DataError(f"data set {entry.name!r}: {root} has no {FOLDERS} and {OVERLAP}; unpack the whole archive")
    label_of, shared = _mapping(entry, root / FOLDERS), _mapping(entry, root / OVERLAP)
    name_of = {folder: label.lower() for folder, label in sorted(label_of.items()) if label in shared}
    if len(name_of) < len(shared):
        lost = min(shared.keys() - set(label_of.values()), default="")
        raise DataError(
            f"data set {entry.name!r}: {FOLDERS} has no folder for {printable(lost)!r}; unpack the archive again"
        )
    images = [one for one in found.images if _folder(one) in name_of]
    rows = file_rows(images, [str(root / image) for image in images], origin=str(root))
    place = {folder: i for i, folder in enumerate(name_of)}
    labels: list[Label] = [place[_folder(one)] for one in images]
    return replace(rows, labels=labels, names=tuple(name_of.values()), remarks=tuple(_absent(entry, name_of, images)))


def _absent(entry: DataEntry, name_of: Mapping[str, str], images: Sequence[str]) -> Iterable[str]:
    absent = sorted(name_of.keys() - {_folder(one) for one in images})
    if absent:
        yield (
            f"data set {entry.name!r}: {len(absent)} of {len(name_of)} classes have no image, such as "
            f"{printable(absent[0])!r}: it is not the whole set"
        )


def _folder(image: str) -> str:
    path = PurePosixPath(image)
    return path.parent.name if len(path.parts) == 3 and path.parts[0] == IMAGES else ""


def _mapping(entry: DataEntry, path: Path) -> dict[str, str]:
    try:
        found = json.loads(read_text(path, "mapping"))
    except ValueError as error:
        raise DataError(f"data set {entry.name!r}: {path} is not JSON ({error}); unpack the archive again") from None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise DataError(f"data set {entry.name!r}: {path} does not map names to names; unpack the archive again")
    return found
