"""Animals on common and on uncommon backgrounds, in the folders of CounterAnimal (Wang et al., arXiv 2403.11497)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import Rows, file_rows
from pytest_clip_robust.datasets.sources.walk import Walk, refuse_unreadable
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import COUNTER_BACKGROUND
from pytest_clip_robust.system.text import printable

COMMON, COUNTER = "common", "counter"
_GROUP = re.compile(rf"({COMMON}|{COUNTER})-.+", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d+) +\S")


def is_backgrounds(found: Walk) -> bool:
    """Return whether all images are in folders CLASS/common-BACKGROUND or CLASS/counter-BACKGROUND, and both occur."""
    return {_group(image) for image in found.images} == {COMMON, COUNTER}


def backgrounds(entry: DataEntry, found: Walk) -> Rows:
    """Read ``CLASS/common-BACKGROUND/IMAGE`` and ``CLASS/counter-BACKGROUND/IMAGE``.

    A class folder that begins with a number, as in ``296 ice bear``, is the class of that number in the entry's list of
    classes. The annotation `COUNTER_BACKGROUND` is true for images of the counter group.

    Raises:
        DataError: an image cannot be read, or is in another folder.
    """
    refuse_unreadable(entry, found)
    root = Path(entry.location)
    stray = next((image for image in found.images if not _group(image)), None)
    if stray is not None:
        raise DataError(
            f"data set {entry.name!r}: {printable(stray)!r} is not in a folder CLASS/{COMMON}-BACKGROUND or "
            f"CLASS/{COUNTER}-BACKGROUND"
        )
    rows = file_rows(found.images, [str(root / image) for image in found.images], origin=str(root))
    return replace(
        rows,
        labels=[_label(image) for image in found.images],
        annotations={COUNTER_BACKGROUND: np.array([_group(image) == COUNTER for image in found.images])},
        remarks=tuple(_classes_of_one_group(entry, found.images)),
    )


def _classes_of_one_group(entry: DataEntry, images: Iterable[str]) -> Iterable[str]:
    groups: dict[str, set[str]] = defaultdict(set)
    for image in images:
        groups[str(PurePosixPath(image).parent.parent)].add(_group(image))
    alone = [folder for folder, held in groups.items() if len(held) == 1]
    if alone:
        yield (
            f"data set {entry.name!r}: {len(alone)} of {len(groups)} classes have images of one group only, such as "
            f"{printable(alone[0])!r}, and are not compared between backgrounds"
        )


def _group(image: str) -> str:
    """Return ``common`` or ``counter``; ``""`` for an image in another folder."""
    path = PurePosixPath(image)
    found = _GROUP.fullmatch(path.parent.name) if len(path.parts) > 2 else None
    return found[1].lower() if found else ""


def _label(image: str) -> str:
    """Return the class that an image's folder names.

    >>> _label("296 ice bear/counter-grass/7.jpg"), _label("ice bear/common-snow/1.jpg")
    ('296', 'ice bear')
    """
    folder = PurePosixPath(image).parent.parent.name
    numbered = _NUMBERED.match(folder)
    return numbered[1] if numbered else folder
