"""Classes to choose from: their ids and all their names, of a data set or of a class list."""

from __future__ import annotations

from typing import NamedTuple

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.labels import ClassList


class Classes(NamedTuple):
    """C classes: `source` for messages, `ids` match the same class elsewhere, `names` are all names of each."""

    source: str
    ids: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]


def classes_of(images: ImageSet) -> Classes:
    """Return the classes of a set."""
    return Classes(images.name, images.class_ids, images.prompt_names)


def listed_classes(classes: ClassList) -> Classes:
    """Return the classes of a class list."""
    return Classes(classes.source, classes.ids, classes.prompt_names)
