"""Prompt sensitivity: how much of a number is the model's, and how much the wording's.

The same images are classified with several prompt sets; replicates resample the images once for all of them, so that
differences between sets are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.measurement import Direction, Interval, Measurement, Provenance
from pytest_clip_robust.properties.ood import Scores
from pytest_clip_robust.properties.reliability import BINS, Reliability, bin_of
from pytest_clip_robust.stats import roc
from pytest_clip_robust.stats.bootstrap import SEED, recentred_interval
from pytest_clip_robust.stats.intervals import mean_interval

REPLICATES = 500
_REPLICATES_AT_A_TIME = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPromptSet:
    """One quantity under S prompt sets: its values (S,), and (B, S) replicates that resample the same images for all.

    templates: (S,) how many templates each set has.
    """

    quantity: str
    direction: Direction
    dataset: str
    names: tuple[str, ...]
    templates: tuple[int, ...]
    values: Floats
    replicates: Floats
    n: int
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise MeasurementError(f"prompt sets {list(self.names)}: a comparison needs at least two")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAnswers:
    """(N, T) answers of T templates, each a classifier of its own, about N images of true classes (N,)."""

    dataset: str
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    samples: Sequence[str] = ()
    provenance: Provenance = field(default_factory=Provenance)


def agreement(found: TemplateAnswers) -> Measurement:
    """Measure how often two templates give an image the same answer, as ``prompts.agreement``.

    The mean over images of the share of agreeing pairs of templates. `details` has the share of images on which all
    agree, Fleiss' kappa (1971), and the accuracy of the worst and the best template alone.

    Raises:
        MeasurementError: there are fewer than two templates.
    """
    n, templates = found.answers.shape
    if templates < 2:
        raise MeasurementError(f"{found.dataset!r}: {templates} template agrees with itself; give a set of at least 2")
    votes = _votes(found.answers)
    agreeing = (votes * (votes - 1)).sum(axis=1) / (templates * (templates - 1))
    by_chance = float(((votes.sum(axis=0) / votes.sum()) ** 2).sum())
    kappa = (float(agreeing.mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0
    alone = (found.answers == found.labels[:, None]).mean(axis=0)
    return Measurement(
        metric="prompts.agreement",
        value=float(agreeing.mean()),
        n=n,
        interval=mean_interval(agreeing, bounds=(0.0, 1.0)),
        direction="higher",
        dataset=found.dataset,
        outcomes=agreeing.astype(np.float32),
        samples=found.samples,
        details={
            "templates": templates,
            "unanimous": float((votes.max(axis=1) == templates).mean()),
            "fleiss_kappa": kappa,
            "worst_template": float(alone.min()),
            "best_template": float(alone.max()),
        },
        provenance=found.provenance,
    )


def spread(found: ByPromptSet) -> Measurement:
    """Measure the best less the worst value over the prompt sets, as ``prompts.spread_<quantity>``; 0 is best.

    `details` has the value under each set.
    """
    value = float(np.ptp(found.values))
    interval = recentred_interval(np.ptp(found.replicates, axis=1), value, bounds=(0.0, np.inf))
    return _compared(found, "spread", value, interval, "lower")


def fewer_templates(found: ByPromptSet) -> Measurement:
    """Measure the value with the fewest templates less that with the most, as ``prompts.fewer_templates_<quantity>``.

    Of several sets with as few, or as many, the first counts. The study finds that fewer templates help OOD detection
    and calibration and leave factor robustness alone (section 5.6 of arXiv 2410.01534).

    Raises:
        MeasurementError: all sets have as many templates.
    """
    fewest, most = int(np.argmin(found.templates)), int(np.argmax(found.templates))
    if found.templates[fewest] == found.templates[most]:
        raise MeasurementError(
            f"prompt sets {list(found.names)} all have {found.templates[0]} templates: none is fewer"
        )
    value = float(found.values[fewest] - found.values[most])
    interval = recentred_interval(found.replicates[:, fewest] - found.replicates[:, most], value)
    return _compared(
        found,
        "fewer_templates",
        value,
        interval,
        found.direction,
        remark=f"{found.names[fewest]} ({found.templates[fewest]}) less {found.names[most]} ({found.templates[most]})",
    )


def accuracy_by_prompts(correct: Mapping[str, NDArray[np.bool_]], **about: object) -> ByPromptSet:
    """Compare accuracies; `correct` has (N,) right answers a prompt set."""
    columns = np.column_stack([column.astype(np.float64) for column in correct.values()])
    n = len(columns)
    replicates = np.concatenate([weights @ columns / n for weights in _resampled(n)])
    return _by_prompt_set(correct, columns.mean(axis=0), replicates, n=n, direction="higher", about=about)


def ece_by_prompts(found: Mapping[str, Reliability], **about: object) -> ByPromptSet:
    """Compare ECE of 15 equal-width bins."""
    gaps = [(one.correct - one.confidence)[:, None] * np.eye(BINS)[bin_of(one.confidence)] for one in found.values()]
    n = len(gaps[0])
    values = np.array([np.abs(gap.sum(axis=0)).sum() / n for gap in gaps])
    replicates = np.concatenate(
        [np.column_stack([np.abs(weights @ gap).sum(axis=1) / n for gap in gaps]) for weights in _resampled(n)]
    )
    return _by_prompt_set(found, values, replicates, n=n, direction="lower", about=about)


def auroc_by_prompts(found: Mapping[str, tuple[Scores, Scores]], **about: object) -> ByPromptSet:
    """Compare the AUROC of ID over OOD scores."""
    pairs = [(inside.values, outside.values) for inside, outside in found.values()]
    exact = [roc.tally(*pair) for pair in pairs]
    values = np.array([float(roc.auroc(one.positives, one.negatives)) for one in exact])
    cells = [_in_cells(*pair) for pair in pairs]
    n_id, n_ood = (len(side) for side in pairs[0])
    replicates = np.concatenate(
        [
            np.column_stack([roc.auroc(of_id @ inside, of_ood @ outside) for inside, outside in cells])
            for of_id, of_ood in zip(_resampled(n_id), _resampled(n_ood, seed=SEED + 1), strict=True)
        ]
    )
    return _by_prompt_set(found, values, replicates, n=n_id + n_ood, direction="higher", about=about)


def _by_prompt_set(
    found: Mapping[str, object],
    values: Floats,
    replicates: Floats,
    *,
    n: int,
    direction: Direction,
    about: Mapping[str, object],
) -> ByPromptSet:
    build: Callable[..., ByPromptSet] = ByPromptSet
    return build(names=tuple(found), values=values, replicates=replicates, n=n, direction=direction, **about)


def _compared(
    found: ByPromptSet, name: str, value: float, interval: Interval, direction: Direction, *, remark: str = ""
) -> Measurement:
    return Measurement(
        metric=f"prompts.{name}_{found.quantity}",
        value=value,
        n=found.n,
        interval=interval,
        direction=direction,
        dataset=found.dataset,
        details={of: float(one) for of, one in zip(found.names, found.values, strict=True)},
        remark=remark,
        provenance=found.provenance,
    )


def _votes(answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count for every image (N,) how many templates gave each answer that any template gave."""
    distinct, place = np.unique(answers, return_inverse=True)
    n, templates = answers.shape
    cell = np.repeat(np.arange(n), templates) * len(distinct) + place.ravel()
    return np.bincount(cell, minlength=n * len(distinct)).reshape(n, len(distinct))


def _resampled(n: int, *, seed: int = SEED) -> Iterator[Floats]:
    """Yield (50, N) counts of how often each sample is drawn, 500 replicates in all."""
    rng = np.random.default_rng(seed)
    for _ in range(0, REPLICATES, _REPLICATES_AT_A_TIME):
        drawn = rng.integers(0, n, (_REPLICATES_AT_A_TIME, n))
        drawn += np.arange(_REPLICATES_AT_A_TIME)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=_REPLICATES_AT_A_TIME * n)
        yield counts.reshape(_REPLICATES_AT_A_TIME, n).astype(np.float64)


def _in_cells(inside: Floats, outside: Floats) -> tuple[Floats, Floats]:
    """Return which of at most 100 cells of scores each sample lies in, one column a cell, the highest first."""
    edges = roc.cell_edges([inside, outside])
    every = np.eye(len(edges) + 1)[::-1].T
    return every[np.searchsorted(edges, inside, side="left")], every[np.searchsorted(edges, outside, side="left")]
