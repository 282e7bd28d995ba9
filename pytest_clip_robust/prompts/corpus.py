"""Corpora: lists of labels, of which those least similar to the ID classes become negative labels (NegLabel)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.prompts.lines import read_lines
from pytest_clip_robust.system.files import exists, user_path
from pytest_clip_robust.system.modules import lemmas, synsets

IMAGENET_22K = "imagenet-22k"
SPARSE = "imagenet-22k/10"
BUILT_IN = (SPARSE, IMAGENET_22K)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A list of distinct labels.

    Raises:
        ConfigError: the list is empty.
    """

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ConfigError(f"corpus {self.name!r} has no labels; give a file with one label per line")

    @property
    def digest(self) -> str:
        """The SHA-256 of the labels in their order; the name does not matter."""
        return digest(self.labels)

    def without(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the labels that are not among `names`, ignoring case."""
        known = {name.casefold() for name in names}
        return tuple(label for label in self.labels if label.casefold() not in known)


def corpus(source: str) -> Corpus:
    """Return a built-in corpus by name, or read one from a text file with one label per line.

    ``imagenet-22k`` has the first noun of each of ImageNet's 21,841 WordNet synsets, ``imagenet-22k/10`` every tenth.

    Raises:
        ConfigError: no such corpus or file exists, or the file cannot be read.
    """
    if source in BUILT_IN:
        return Corpus(source, _synsets(every=10 if source == SPARSE else 1))
    path = user_path(source)
    if not exists(path):
        near = did_you_mean(source, BUILT_IN)
        raise ConfigError(f"no corpus {source!r}{near}; give a text file or one of: {', '.join(BUILT_IN)}")
    return Corpus(path.stem, tuple(dict.fromkeys(read_lines(path, f"corpus {source!r}"))))


def _synsets(*, every: int) -> tuple[str, ...]:
    names = lemmas()
    return tuple(dict.fromkeys(names[one].partition(",")[0] for one in synsets("imagenet22k")[::every]))
