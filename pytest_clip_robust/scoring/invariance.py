"""Answers before and after a change that should not matter, and the search for the mildest change that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.decisions import Decisions

Combination = tuple[tuple[str, int], ...]
"""Transformations, each with the step of its strength."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswers:
    """The answers to N images before and after one `change` of the images or of the prompts.

    before: with answers and class names. after: (N,) classes. confidence: (N,) softmax probabilities (0-1) of `after`.

    Raises:
        MeasurementError: the answers before are not known, or lengths differ.
    """

    change: str
    before: Decisions
    after: Ints
    confidence: Floats
    provenance: Provenance

    def __post_init__(self) -> None:
        _check(self.before, self.change, self.after, self.confidence)

    def __len__(self) -> int:
        return len(self.before)

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.before.dataset

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) whether the answer stays the same; a wrong answer can stay, too."""
        return np.asarray(self.before.answers == self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakingSteps:
    """The mildest strength found at which the answers to N images change, as steps 1 to S.

    strengths: the S ascending strengths. steps: (N,) integers; S + 1 if the answer stays the same at all strengths that
    were tried, the largest among them. Only images that are right before are searched; for others it is S + 1, too.
    after, confidence: (N,) the answer at that step and its softmax probability; the answer before if it never changes.

    Raises:
        MeasurementError: the answers before are not known, lengths differ, or a step is out of range.
    """

    transformation: str
    strengths: tuple[float, ...]
    before: Decisions
    steps: Ints
    after: Ints
    confidence: Floats
    provenance: Provenance

    def __post_init__(self) -> None:
        _check(self.before, self.transformation, self.after, self.confidence, self.steps)
        if self.steps.min() < 1 or self.steps.max() > len(self.strengths) + 1:
            raise MeasurementError(
                f"{self.transformation} on {self.dataset!r}: steps {self.steps.min()} to {self.steps.max()}; "
                f"expected 1 to {len(self.strengths) + 1}"
            )

    def __len__(self) -> int:
        return len(self.before)

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.before.dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Mildest:
    """The mildest combination found under which too few answers stay the same, with one image as an example.

    kept: the share (0-1) of answers that stay. sample: the image's name. before, after: names of the answers to it.
    """

    combination: Combination
    kept: float
    sample: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedAnswers:
    """The answers to N images under K combinations of transformations that are the same for every model.

    kept: (N, K) whether an answer stays the same. mildest: what the search found, or None if it found nothing.
    tried: how many combinations the search tried. demanded: the share (0-1) of answers that should stay the same.

    Raises:
        MeasurementError: there is no combination, or shapes disagree.
    """

    before: Decisions
    combinations: tuple[Combination, ...]
    kept: NDArray[np.bool_]
    mildest: Mildest | None
    tried: int
    demanded: float
    provenance: Provenance

    def __post_init__(self) -> None:
        expected = (len(self.before), len(self.combinations))
        if not self.combinations or self.kept.shape != expected:
            raise MeasurementError(
                f"combinations on {self.dataset!r}: answers of shape {self.kept.shape}; expected {expected}, not empty"
            )

    def __len__(self) -> int:
        return len(self.before)

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.before.dataset


def find_breaking_steps(sizes: Sequence[int], changes: Callable[[Ints, Ints], NDArray[np.bool_]]) -> Ints:
    """Return, for each of M items, a step from 1 to its size at which its answer changes, or its size + 1 for none.

    changes: given (K,) items and (K,) steps, returns (K,) whether their answers change. It is called at most
    ``1 + floor(log2(max(sizes)))`` times, first with all items at the middle of their steps (rounded down, at least 1).

    This is a bisection: the answer to an item does not change one step below the one returned, which is the mildest if
    stronger steps change it as well. If they do not, a milder change can be missed.

    >>> find_breaking_steps([8, 8], lambda items, steps: steps >= np.array([3, 9])[items])
    array([3, 9])
    """
    kept = np.zeros(len(sizes), np.int64)
    changed = np.asarray(sizes, np.int64) + 1
    while (open_ := np.flatnonzero(changed - kept > 1)).size:
        middle = (kept + changed)[open_] // 2
        found = changes(open_, middle)
        changed[open_[found]] = middle[found]
        kept[open_[~found]] = middle[~found]
    return changed


def _check(before: Decisions, change: str, *columns: NDArray[np.generic]) -> None:
    if before.answers is None or any(column.shape != before.labels.shape for column in columns):
        raise MeasurementError(
            f"{change} on {before.dataset!r}: the answers before and after are not known for the same {len(before)} "
            "images"
        )
