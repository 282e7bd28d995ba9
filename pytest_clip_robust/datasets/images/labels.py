"""Class lists: the order, names and ids of classes, and the class that a label in a file means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.text import printable

IMAGENET = "imagenet-1k"
SUBSETS = ("imagenet-a", "imagenet-r")
PUBLISHED = (IMAGENET, *SUBSETS)


@dataclass(frozen=True)
class ClassList:
    """C classes in order: `names` go into prompts, `ids` match the same class in other sets.

    synonyms: C tuples of all names of a class, its `names` entry first, or () if every class has one name.

    Raises:
        DataError: the numbers of names and ids differ, an id occurs twice, or a name is empty.
    """

    source: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.ids):
            raise DataError(f"{self.source}: {len(self.names)} class names for {len(self.ids)} ids; expected one each")
        if len(set(self.ids)) != len(self.ids):
            twice = next(one for i, one in enumerate(self.ids) if one in self.ids[:i])
            raise DataError(f"{self.source}: class {twice!r} is listed twice; give each class one line")
        for one, names in zip(self.ids, self.synonyms or ((name,) for name in self.names), strict=True):
            if not all(name.strip() for name in names):
                raise DataError(f"{self.source}: class {one!r} has no name, or an empty one; write one")

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, label: str | int) -> int:
        """Return the position of the class that `label` means: its index, id, or name if only one class has it.

        Raises:
            DataError: the label matches no class, or several; the message has near names.
        """
        if not isinstance(label, str):
            if 0 <= label < len(self):
                return int(label)
            raise DataError(f"label {label} is not in 0..{len(self) - 1}, the classes of {self.source}")
        place = self.find(label)
        if place is not None:
            return place
        if label in self._positions:
            ids = " and ".join(self.ids[i] for i in self._positions[label])
            raise DataError(f"class name {label!r} means {ids} in {self.source}; use the id")
        near = did_you_mean(label, self._positions)
        raise DataError(f"class {printable(label)!r} is not among the {len(self)} of {self.source}{near}")

    def find(self, label: str) -> int | None:
        """Return the position of the class with that id, name or index; None if there is not exactly one."""
        found = self._positions.get(label)
        if found is None:
            return int(label) if label.isdecimal() and int(label) < len(self) else None
        return found[0] if len(found) == 1 else None

    @cached_property
    def _positions(self) -> dict[str, tuple[int, ...]]:
        """The positions of every id, and of every name that is not another class's id."""
        positions: dict[str, tuple[int, ...]] = {}
        for i, names in enumerate(self.synonyms or ((name,) for name in self.names)):
            for name in names:
                positions[name] = (*positions.get(name, ()), i)
        return positions | {one: (i,) for i, one in enumerate(self.ids)}

    def keep(self, positions: NDArray[np.int64]) -> ClassList:
        """Return the classes at `positions`, in that order."""
        synonyms = tuple(self.synonyms[i] for i in positions) if self.synonyms else ()
        names, ids = (tuple(column[i] for i in positions) for column in (self.names, self.ids))
        return ClassList(self.source, names, ids, synonyms)


def class_list(source: str) -> ClassList:
    """Return the class list called `source`, or the one in a text file of that name.

    A file has one class per line: its name, or its id, a tab and its name. Several names are separated by bars:
    ``sofa|couch``.

    Raises:
        DataError: there is no such list or file, or the file has another form.
    """
    if source in PUBLISHED:
        return _published(source)
    path = Path(source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        near = did_you_mean(source, PUBLISHED)
        raise DataError(f"no class list {source!r}{near}; give a text file or one of: {', '.join(PUBLISHED)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"class list {source!r} cannot be read: {error}") from error
    return named_classes([line for line in lines if line.strip()], source=source)


def named_classes(lines: Iterable[str], *, source: str) -> ClassList:
    r"""Return the class list of `lines`: names separated by bars, or an id, a tab and names.

    Underscores in names become spaces. Without an id, the first name is the id.

    >>> named_classes(["hot_dog", "n1\tsofa|couch"], source="menu").synonyms
    (('hot dog',), ('sofa', 'couch'))
    """
    split = [line.strip("\r\n").partition("\t") for line in lines]
    ids = tuple((one if tab else one.partition("|")[0]).strip() for one, tab, _ in split)
    synonyms = tuple(
        tuple(name.replace("_", " ").strip() for name in (names if tab else one).split("|"))
        for one, tab, names in split
    )
    several = any(len(names) > 1 for names in synonyms)
    return ClassList(source, tuple(names[0] for names in synonyms), ids, synonyms if several else ())


def to_positions(labels: Sequence[str | int], classes: ClassList, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Return the (N,) positions of `labels` in `classes`; `where` names row i for messages.

    Raises:
        DataError: a label matches no class, or several.
    """
    known: dict[str | int, int] = {}
    for row, label in enumerate(labels):
        if label not in known:
            try:
                known[label] = classes.position(label)
            except DataError as error:
                raise DataError(f"{where(row)}: {error}") from None
    return np.array([known[label] for label in labels], dtype=np.int64)


def _published(source: str) -> ClassList:
    """Return a list of ImageNet: the ids from timm, the names, which are made for prompts, from open_clip."""
    import open_clip  # noqa: PLC0415 - it imports torch
    from timm.data.imagenet_info import ImageNetInfo  # noqa: PLC0415

    ids = tuple(ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
    classes = ClassList(IMAGENET, tuple(open_clip.IMAGENET_CLASSNAMES), ids)
    if source == IMAGENET:
        return classes
    file = resources.files("timm.data") / "_info" / f"{source.replace('-', '_')}_synsets.txt"
    wanted = sorted(file.read_text(encoding="utf-8").split())
    part = classes.keep(np.array([classes.position(one) for one in wanted], dtype=np.int64))
    return ClassList(source, part.names, part.ids)
