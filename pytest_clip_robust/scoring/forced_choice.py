"""Answers to forced choices between candidates that were listed in several orders.

A question is one list of candidates for one sample. A model that prefers a place, such as the first, answers many of
them correctly if the truth is often there; in balanced orders it does not gain by it, and its preference can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints, row_slices
from pytest_clip_robust.core.measurement import Miss, Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.cues import NO_ANSWER
from pytest_clip_robust.scoring.decisions import MISSES_KEPT, Decisions
from pytest_clip_robust.scoring.likelihoods import LIKELIHOOD_VARIANTS
from pytest_clip_robust.scoring.named_answers import Reading, Reason
from pytest_clip_robust.scoring.option_orders import best_places
from pytest_clip_robust.scoring.rankings import shorten

GENERATED = "generated"
WAYS = (*(f"likelihood_{variant}" for variant in LIKELIHOOD_VARIANTS), GENERATED)
"""How a model answers: the most likely of all class names, counted in three ways, or free text between options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The answers of one model to M questions about N samples, each a choice between K classes.

    how: the way in which answers are given and read, the last part of metric ids: one of `WAYS`, or ``tower``.
    labels: (N,) true classes, positions in `class_names`. samples: N names. of_sample: (M,) the questions' samples.
    shown: (M, K) its candidates in the order in which it lists them, with the true class once.
    places: (M,) the place of the answer in that list, or -1 for no answer.
    reasons: M reasons of the readings, and texts: M answers, if the model was asked for free text; else empty.

    Raises:
        MeasurementError: there is no sample, a sample has no question, a question lists a class twice or lacks the true
            one, or shapes disagree.
    """

    dataset: str
    how: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    samples: Sequence[str]
    of_sample: NDArray[np.int64]
    shown: NDArray[np.int64]
    places: NDArray[np.int64]
    reasons: Sequence[Reason] = ()
    texts: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where, questions = f"choices on {self.dataset!r}", len(self.places)
        if not len(self.labels) == len(self.samples) or not len(self.of_sample) == len(self.shown) == questions:
            raise MeasurementError(
                f"{where}: {len(self.labels)} labels of {len(self.samples)} samples, and {questions} answers to "
                f"{len(self.shown)} lists for {len(self.of_sample)} samples; expected N of N, and M to M for M"
            )
        for name, given in (("reasons", self.reasons), ("texts", self.texts)):
            if len(given) not in {0, questions}:
                raise MeasurementError(f"{where}: {len(given)} {name} for {questions} answers")
        if not len(self.labels):
            raise MeasurementError(f"{where}: no samples, so there is nothing to measure")
        if not np.array_equal(np.unique(self.of_sample), np.arange(len(self.labels))):
            raise MeasurementError(
                f"{where}: not every sample of {len(self.labels)} has a question, or one has no sample"
            )
        self._check_lists(where)

    def _check_lists(self, where: str) -> None:
        size = self.shown.shape[1]
        if size < 2 or self.places.min() < NO_ANSWER or self.places.max() >= size:
            raise MeasurementError(
                f"{where}: answers at the places {self.places.min()} to {self.places.max()} of {size}; "
                f"expected {NO_ANSWER} to {size - 1} of at least 2"
            )
        for part in row_slices(len(self.shown)):
            ordered = np.sort(self.shown[part], axis=1)
            if ordered.min() < 0 or ordered.max() >= len(self.class_names):
                raise MeasurementError(
                    f"{where}: candidates {ordered.min()} to {ordered.max()} of {len(self.class_names)}"
                )
            bad = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1) | ~self._is_truth(part).any(axis=1)
            if bad.any():
                sample = self.samples[self.of_sample[part][bad][0]]
                raise MeasurementError(
                    f"{where}: a question about {sample!r} lists a class twice or lacks the true one; list each once"
                )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ways(self) -> str:
        """The number of candidates in words, a part of metric ids: ``all_way``, ``pairwise`` or ``<K>_way``."""
        size = self.shown.shape[1]
        return "all_way" if size == len(self.class_names) else "pairwise" if size == 2 else f"{size}_way"

    @property
    def variant(self) -> str:
        """The end of metric ids, ``<ways>_<how>``."""
        return f"{self.ways}_{self.how}"

    @property
    def answers(self) -> NDArray[np.int64]:
        """(M,) the class of each answer, or -1."""
        chosen = np.take_along_axis(self.shown, np.maximum(self.places, 0)[:, None], axis=1)[:, 0]
        return np.where(self.places >= 0, chosen, NO_ANSWER)

    @property
    def truths(self) -> NDArray[np.int64]:
        """(M,) the place of the true class in each list."""
        return np.concatenate([self._is_truth(part).argmax(axis=1) for part in row_slices(len(self.shown))])

    @property
    def right(self) -> NDArray[np.bool_]:
        """(M,) whether each answer is the true class; no answer is wrong."""
        right: NDArray[np.bool_] = self.answers == self.labels[self.of_sample]
        return right

    @property
    def questions(self) -> NDArray[np.int64]:
        """(N,) the number of questions about each sample."""
        return np.bincount(self.of_sample, minlength=len(self.labels))

    @property
    def shares(self) -> Floats:
        """(N,) the share of its questions that each sample has answered correctly: accuracy, averaged over orders."""
        return self.share_of(self.right)

    def share_of(self, chosen: NDArray[np.bool_]) -> Floats:
        """Return (N,) the share of each sample's questions that are among `chosen` (M,)."""
        found: Floats = np.bincount(self.of_sample, weights=chosen, minlength=len(self.labels)) / self.questions
        return found

    def part(self, keep: NDArray[np.bool_]) -> Choices:
        """Keep the samples where `keep` (N,) is true, such as those with a visual factor, and their questions.

        Raises:
            MeasurementError: no sample is left.
        """
        kept, rows = np.flatnonzero(keep), np.flatnonzero(keep[self.of_sample])
        place = np.cumsum(keep) - 1
        return replace(
            self,
            labels=self.labels[kept],
            samples=[self.samples[i] for i in kept.tolist()],
            of_sample=place[self.of_sample[rows]],
            shown=self.shown[rows],
            places=self.places[rows],
            reasons=[self.reasons[i] for i in rows.tolist()] if self.reasons else (),
            texts=[self.texts[i] for i in rows.tolist()] if self.texts else (),
        )

    def _is_truth(self, part: slice) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.shown[part] == self.labels[self.of_sample[part], None]
        return found


def read_places(readings: Sequence[Reading]) -> tuple[Ints, tuple[Reason, ...]]:
    """Return the places (M,) that M readings choose, -1 for no answer, and their reasons."""
    places = [NO_ANSWER if one.position is None else one.position for one in readings]
    return np.array(places, dtype=np.int64), tuple(one.reason for one in readings)


def joined(parts: Sequence[Choices]) -> Choices:
    """Return the questions of several choices about the same samples, such as their images under each severity.

    Raises:
        MeasurementError: they are about other samples, or were answered in other ways.
    """
    first = parts[0]
    for one in parts[1:]:
        same = tuple(one.samples) == tuple(first.samples) and np.array_equal(one.labels, first.labels)
        if not same or (one.how, one.class_names) != (first.how, first.class_names):
            raise MeasurementError(f"{one.dataset!r} and {first.dataset!r} are not choices about the same samples")
    return replace(
        first,
        of_sample=np.concatenate([one.of_sample for one in parts]),
        shown=np.concatenate([one.shown for one in parts]),
        places=np.concatenate([one.places for one in parts]),
        reasons=[reason for one in parts for reason in one.reasons],
        texts=[text for one in parts for text in one.texts],
        provenance=first.provenance.merged_with(*(one.provenance for one in parts[1:])),
    )


def tower_choices(tower: Predictions, lmm: Choices) -> Choices:
    """Return the choices of a CLIP tower between the candidates of the same questions, by its logits.

    A tower does not see the order. Of equal logits the lower class wins.

    Raises:
        MeasurementError: the tower was not asked about the same samples, labels and classes.
        NotApplicableError: only the answers of the tower are known, without logits.
    """
    logits = tower.all_logits("a choice between candidates")
    if tuple(tower.samples) != tuple(lmm.samples) or (tower.labels != lmm.labels).any():
        raise MeasurementError(
            f"the tower's answers to {tower.dataset!r} are about other samples than those to {lmm.dataset!r}"
        )
    if tower.class_names != lmm.class_names:
        raise MeasurementError(
            f"the tower knows {len(tower.class_names)} classes of {tower.dataset!r}, which are not the same"
        )
    places = [
        best_places(np.take_along_axis(logits[lmm.of_sample[part]], lmm.shown[part], axis=1), lmm.shown[part])
        for part in row_slices(len(lmm.shown))
    ]
    return replace(lmm, how="tower", places=np.concatenate(places), reasons=(), texts=(), provenance=tower.provenance)


def decide_by_vote(found: Choices) -> Decisions:
    """Return one answer per sample: the class that most of its questions chose; a tie, or no answer, is wrong.

    For properties that need one decision per sample, such as those of visual factors.
    """
    rows = np.flatnonzero(found.places >= 0)
    ballots, votes = np.unique(np.stack([found.of_sample[rows], found.answers[rows]]), axis=1, return_counts=True)
    most, answers = np.zeros(len(found), np.int64), np.full(len(found), NO_ANSWER)
    np.maximum.at(most, ballots[0], votes)
    leading = votes == most[ballots[0]]
    alone = leading & (np.bincount(ballots[0][leading], minlength=len(found))[ballots[0]] == 1)
    answers[ballots[0][alone]] = ballots[1][alone]
    return Decisions(
        dataset=found.dataset,
        correct=answers == found.labels,
        labels=found.labels,
        samples=found.samples,
        misses=worst_choices(found),
        answers=answers,
        class_names=found.class_names,
        provenance=found.provenance,
    )


def worst_choices(found: Choices) -> tuple[Miss, ...]:
    """Return the ten worst samples: first those with the most questions without an answer, then the most wrong ones.

    `predicted` is the first wrong answer, or why there is no answer, with its text; `confidence` is the share of
    questions about the sample without an answer, or with a wrong one.
    """
    silent, wrong = found.share_of(found.places < 0), 1 - found.shares
    rank = np.lexsort((-wrong, -silent))
    return tuple(
        _miss(found, sample, float(silent[sample] or wrong[sample]))
        for sample in rank[wrong[rank] > 0][:MISSES_KEPT].tolist()
    )


def _miss(found: Choices, sample: int, share: float) -> Miss:
    rows = np.flatnonzero(found.of_sample == sample)
    silent, wrong = rows[found.places[rows] < 0], rows[~found.right[rows]]
    if len(silent):
        row = int(silent[0])
        why = found.reasons[row] if found.reasons else "no answer"
        predicted = f"({why}) {shorten(found.texts[row]) if found.texts else ''}".rstrip()
    else:
        predicted = found.class_names[found.answers[wrong[0]]]
    truth = found.class_names[found.labels[sample]]
    return Miss(sample=found.samples[sample], truth=truth, predicted=predicted, confidence=share)
