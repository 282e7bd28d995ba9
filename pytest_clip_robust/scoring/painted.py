"""Answers to images with a painted word, with a blank note, and without either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.decisions import Decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintedAnswers:
    """The answers to the same N images in three versions.

    word: with the name of a wrong class on a note. blank: with a blank note of that size at that place. clean: without.
    words: (N,) the class whose name is painted, never the true one.

    Raises:
        MeasurementError: the three are not about the same samples, an answer is not known, or a word is the true class.
    """

    word: Decisions
    blank: Decisions
    clean: Decisions
    words: Ints

    def __post_init__(self) -> None:
        n = len(self.word)
        for one in (self.word, self.blank, self.clean):
            if one.answers is None or len(one) != n or not np.array_equal(one.labels, self.word.labels):
                raise MeasurementError(
                    f"{self.dataset!r}: answers to images with a word, a blank note and neither are not about the same "
                    "samples, or not known"
                )
        if self.words.shape != (n,) or (self.words == self.word.labels).any():
            raise MeasurementError(f"{self.dataset!r}: expected one word for each of {n} samples, of another class")

    def __len__(self) -> int:
        return len(self.word)

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.word.dataset

    @property
    def samples(self) -> Sequence[str]:
        """The names of the N samples."""
        return self.word.samples

    @property
    def provenance(self) -> Provenance:
        """The origin of the answers."""
        return self.word.provenance

    def says_word(self, version: Decisions) -> NDArray[np.bool_]:
        """Return (N,) whether the answers to one of the versions are the classes of the painted words."""
        return np.asarray(version.answers == self.words)
