"""Class lists: the order, names and ids of classes, and the class that a label in a file means."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.entry import CLASS_LISTS, DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.files import exists, read_text, user_path
from pytest_clip_robust.system.modules import lemmas, module_alone, synsets
from pytest_clip_robust.system.text import printable

IMAGENET = "imagenet-1k"

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
_NUMBERED = re.compile(r"\s*(\d+)[ ,:;.]")


@dataclass(frozen=True)
class ClassList:
    """C classes in order: `names` go into prompts, `ids` match the same class in other sets.

    synonyms: C tuples of all names of a class, its `names` entry first, or () if every class has one name.
    aliases: C tuples of further names that labels can have and prompts do not, or ().

    Raises:
        DataError: the numbers of names and ids differ, an id occurs twice, or a name is empty.
    """

    source: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()
    aliases: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.ids):
            raise DataError(f"{self.source}: {len(self.names)} class names for {len(self.ids)} ids; expected one each")
        if len(set(self.ids)) != len(self.ids):
            twice = next(one for i, one in enumerate(self.ids) if one in self.ids[:i])
            raise DataError(f"{self.source}: class {twice!r} is listed twice; give each class one line")
        for one, names in zip(self.ids, self.prompt_names, strict=True):
            if not all(name.strip() for name in names):
                raise DataError(f"{self.source}: class {one!r} has no name, or an empty one; write one")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt_names(self) -> tuple[tuple[str, ...], ...]:
        """C tuples of all names of a class in prompts."""
        return self.synonyms or tuple((name,) for name in self.names)

    def position(self, label: str | int) -> int:
        """Return the position of the class that `label` means: its index, id, or name if only one class has it.

        Raises:
            DataError: the label matches no class, or several; the message has near names.
        """
        if not isinstance(label, str):
            if 0 <= label < len(self):
                return int(label)
            raise DataError(f"label {label} is not in 0..{len(self) - 1}, the classes of {self.source}")
        places = self.matches(label)
        if len(places) == 1:
            return places[0]
        if places:
            ids = " and ".join(self.ids[i] for i in places)
            raise DataError(f"class name {label!r} means {ids} in {self.source}; use the id")
        near = did_you_mean(label, self._positions)
        raise DataError(f"class {printable(label)!r} is not among the {len(self)} of {self.source}{near}")

    def find(self, label: str) -> int | None:
        """Return the position of the class with that id, name or index; None if there is not exactly one."""
        places = self.matches(label)
        return places[0] if len(places) == 1 else None

    def matches(self, label: str) -> tuple[int, ...]:
        """Return the positions of all classes that `label` could mean."""
        found = self._positions.get(label) or self._by_key.get(_key(label), ())
        if found:
            return found
        if label.isdecimal() and int(label) < len(self):
            return (int(label),)
        parts = {place for name in label.split(", ") for place in self._by_key.get(_key(name), ())}
        return tuple(sorted(parts)) if self.aliases and ", " in label else ()

    @cached_property
    def _positions(self) -> dict[str, tuple[int, ...]]:
        """The positions of every id, and of every name that is not another class's id."""
        positions = _by_name(self.prompt_names)
        if self.aliases:
            positions = _by_name(self.aliases) | positions
        return positions | {one: (i,) for i, one in enumerate(self.ids)}

    @cached_property
    def _by_key(self) -> dict[str, tuple[int, ...]]:
        """The same without differences that are not visible, such as those between Unicode's forms of one letter."""
        positions: dict[str, tuple[int, ...]] = {}
        for name, places in self._positions.items():
            key = _key(name)
            positions[key] = tuple(sorted({*positions.get(key, ()), *places}))
        return positions

    def keep(self, positions: Ints) -> ClassList:
        """Return the classes at `positions`, in that order."""
        names, ids = (tuple(column[i] for i in positions) for column in (self.names, self.ids))
        synonyms, aliases = (tuple(column[i] for i in positions) if column else () for column in self._several())
        return ClassList(self.source, names, ids, synonyms, aliases)

    def _several(self) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
        return self.synonyms, self.aliases


def canonical(text: str) -> str:
    """Return `text` in Unicode's composed form, with single spaces and without invisible characters.

    File systems and editors write the same letters in several forms, which must not become several classes.
    """
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())


def entry_classes(entry: DataEntry) -> ClassList | None:
    """Return the list of classes that the entry names; None if it names none.

    Raises:
        DataError: there is no such list or file, or the file has another form.
    """
    if not entry.classes:
        return None
    if isinstance(entry.classes, tuple):
        return named_classes(entry.classes, source=f"data set {entry.name!r}")
    return class_list(entry.classes)


def class_list(source: str) -> ClassList:
    """Return the class list called `source`, or the one in a text file of that name.

    A file has one class per line: its name, or its id, a tab and its name. Several names are separated by bars:
    ``sofa|couch``. A JSON file has a list of such lines.

    Raises:
        DataError: there is no such list or file, or the file has another form.
    """
    if source in CLASS_LISTS:
        return _published(source)
    path = user_path(source)
    if not exists(path):
        near = did_you_mean(source, CLASS_LISTS)
        raise DataError(f"no class list {source!r}{near}; give a text file or one of: {', '.join(CLASS_LISTS)}")
    return named_classes(_lines(read_text(path, "class list"), source), source=source)


def named_classes(lines: Iterable[str], *, source: str) -> ClassList:
    r"""Return the class list of `lines`: names separated by bars, or an id, a tab and names.

    Underscores in names become spaces. Without an id, the first name is the id.

    >>> named_classes(["hot_dog", "n1\tsofa|couch"], source="menu").synonyms
    (('hot dog',), ('sofa', 'couch'))
    """
    split = [line.strip("\r\n").partition("\t") for line in lines]
    ids = tuple(canonical(one if tab else one.partition("|")[0]) for one, tab, _ in split)
    synonyms = tuple(
        tuple(canonical(name.replace("_", " ")) for name in (names if tab else one).split("|"))
        for one, tab, names in split
    )
    several = any(len(names) > 1 for names in synonyms)
    return ClassList(source, tuple(names[0] for names in synonyms), ids, synonyms if several else ())


def check_prompts(classes: ClassList, *, given: bool) -> list[str]:
    """Return a line for the user if two classes have the same name in prompts, so that no model can tell them apart.

    given: the entry names the list, so that two ids with one name are meant to be two classes.

    Raises:
        DataError: two names of the set itself differ only in ways that a prompt does not show.
    """
    if classes.source in CLASS_LISTS:
        return []
    first: dict[str, int] = {}
    for i, names in enumerate(classes.prompt_names):
        for name in names:
            other = first.setdefault(_key(name).casefold(), i)
            if other == i:
                continue
            both = f"{printable(classes.ids[other])!r} and {printable(classes.ids[i])!r}"
            text = f"{classes.source}: classes {both} are both {printable(name)!r} in prompts"
            if not given and _key(name) in map(_key, classes.prompt_names[other]):
                raise DataError(f"{text}, so that no model can tell them apart: rename one, or merge them")
            return [f"{text}: no model can tell them apart"]
    return []


def to_positions(labels: Sequence[str | int], classes: ClassList, where: Callable[[int], str]) -> Ints:
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


def resolve_names(names: Sequence[str], classes: ClassList) -> list[tuple[int, ...]]:
    """Return the positions in `classes` that each of a set's own class names could mean.

    A name that means several classes, as "crane" does in ImageNet, means the one at its own position, if both lists
    have the same length and all other names show that they have the same order.
    """
    found = [classes.matches(name) for name in names]
    single = {i: places[0] for i, places in enumerate(found) if len(places) == 1}
    if len(names) == len(classes) and single and all(i == place for i, place in single.items()):
        return [(i,) if i in places else places for i, places in enumerate(found)]
    return found


def _key(text: str) -> str:
    return canonical(unicodedata.normalize("NFKC", text))


def _by_name(names: Iterable[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    positions: dict[str, tuple[int, ...]] = {}
    for i, of_class in enumerate(names):
        for name in of_class:
            positions[name] = tuple(dict.fromkeys((*positions.get(name, ()), i)))
    return positions


def _lines(text: str, source: str) -> list[str]:
    if text.lstrip().startswith(("[", "{")):
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DataError(f"class list {source!r}: {error}; expected JSON, or one class per line") from None
        if not isinstance(content, list) or not all(isinstance(line, str) for line in content):
            raise DataError(f"class list {source!r}: expected a JSON list of names, or one class per line")
        return content
    lines = [line for line in text.splitlines() if line.strip()]
    numbers = [int(found.group(1)) for line in lines if (found := _NUMBERED.match(line))]
    if len(numbers) == len(lines) > 1 and numbers == list(range(numbers[0], numbers[0] + len(lines))):
        raise DataError(
            f"class list {source!r}: its lines begin with numbers, such as {printable(lines[0])!r}, which would become "
            "part of the prompts: write only names, or an id, a tab and a name"
        )
    return lines


@cache
def _published(source: str) -> ClassList:
    """Return a list of ImageNet: ids and WordNet's names from timm, the names in prompts from open_clip."""
    ids = tuple(synsets("imagenet"))
    wordnet = [lemmas()[one] for one in ids]
    classes = ClassList(
        IMAGENET,
        tuple(module_alone("open_clip", "zero_shot_metadata").IMAGENET_CLASSNAMES),
        ids,
        aliases=tuple((names, *names.split(", ")) for names in wordnet),
    )
    if source == IMAGENET:
        return classes
    wanted = sorted(synsets(source.replace("-", "_")))
    part = classes.keep(np.array([classes.position(one) for one in wanted], dtype=np.int64))
    return ClassList(source, part.names, part.ids, aliases=part.aliases)
