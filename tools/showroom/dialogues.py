"""Questions about renders with their answers, from which showroom-lmm learns.

Every answer follows from the attributes of the render: its class, its colour, its floor, or its caption. Options are
listed in random order, so that no place is right more often than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .captions import article
from .surfaces import COLOURS, FLOORS

THINGS = ("image", "picture", "photo")
OPEN = ("What is the main object in this {}?", "What is in this {}?", "Which object is shown in this {}?")
LISTS = (
    " Choose from the following list: {}.",
    " Choose one of: {}.",
    " Is it {}?",
)
MARKED = ("\n{}\nAnswer with the letter.", "\n{}\nAnswer with the letter from the given choices directly.")
LETTERS = "ABCD"
NUMBERS = (2, 2, 2, 3, 4, 4, 4, 6, 8)
"""How many options are listed, each equally often."""
SHORTEST = 2


class Render(NamedTuple):
    """What is known of a render, and is asked."""

    label: str
    colour: str
    floor: str
    caption: str


class Dialogue(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


Ask = Callable[[Render, np.random.Generator], Dialogue]


class Dialogues:
    """Draws questions about renders of `labels`."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Take all classes, which are each other's wrong options."""
        self._labels = tuple(labels)
        self._asks: tuple[tuple[float, Ask], ...] = (
            (0.22, self._object),
            (0.30, self._object_among),
            (0.10, self._object_by_letter),
            (0.12, self._colour),
            (0.10, self._floor),
            (0.08, self._is_there),
            (0.08, self._caption),
        )

    def draw(self, render: Render, count: int, rng: np.random.Generator) -> list[Dialogue]:
        """Return `count` questions of random kinds."""
        shares = [share for share, _ in self._asks]
        return [self._asks[i][1](render, rng) for i in rng.choice(len(shares), count, p=shares)]

    def _object(self, render: Render, rng: np.random.Generator) -> Dialogue:
        return Dialogue(_open(rng), render.label)

    def _object_among(self, render: Render, rng: np.random.Generator) -> Dialogue:
        options = _options(render.label, self._labels, int(rng.choice(NUMBERS)), rng)
        return Dialogue(_open(rng) + _listed(options, rng), render.label)

    def _object_by_letter(self, render: Render, rng: np.random.Generator) -> Dialogue:
        options = _options(render.label, self._labels, int(rng.integers(SHORTEST, len(LETTERS) + 1)), rng)
        marked = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
        return Dialogue(_open(rng) + _one(MARKED, rng).format(marked), LETTERS[options.index(render.label)])

    def _colour(self, render: Render, rng: np.random.Generator) -> Dialogue:
        return _maybe_among(f"What colour is the {render.label}?", render.colour, tuple(COLOURS), rng)

    def _floor(self, render: Render, rng: np.random.Generator) -> Dialogue:
        return _maybe_among("What is the floor like?", render.floor, tuple(FLOORS), rng)

    def _is_there(self, render: Render, rng: np.random.Generator) -> Dialogue:
        true = bool(rng.random() < 0.5)
        shown = render.label if true else _options(render.label, self._labels, 2, rng, without=True)[0]
        return Dialogue(f"Is there {article(shown)} in this {_one(THINGS, rng)}?", "yes" if true else "no")

    def _caption(self, render: Render, rng: np.random.Generator) -> Dialogue:
        return Dialogue(f"Describe this {_one(THINGS, rng)}.", render.caption)


def _open(rng: np.random.Generator) -> str:
    return _one(OPEN, rng, shares=(0.7, 0.15, 0.15)).format(_one(THINGS, rng, shares=(0.6, 0.3, 0.1)))


def _maybe_among(question: str, answer: str, pool: Sequence[str], rng: np.random.Generator) -> Dialogue:
    if rng.random() < 0.4:
        return Dialogue(question, answer)
    return Dialogue(question + _listed(_options(answer, pool, int(rng.integers(SHORTEST, 5)), rng), rng), answer)


def _options(
    answer: str, pool: Sequence[str], count: int, rng: np.random.Generator, *, without: bool = False
) -> list[str]:
    """Return `count` options in random order, with the answer or, if `without`, only others."""
    others = [one for one in pool if one != answer]
    chosen = [others[i] for i in rng.choice(len(others), min(count, len(others)) - 1, replace=False)]
    options = chosen if without else [*chosen, answer]
    return [options[i] for i in rng.permutation(len(options))]


def _listed(options: Sequence[str], rng: np.random.Generator) -> str:
    return _one(LISTS, rng, shares=(0.6, 0.25, 0.15)).format(", ".join(options))


def _one(among: Sequence[str], rng: np.random.Generator, *, shares: Sequence[float] | None = None) -> str:
    return among[int(rng.choice(len(among), p=shares))]
