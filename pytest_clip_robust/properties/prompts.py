"""Prompt sensitivity: how much accuracy, calibration and OOD detection depend on the wording of prompts.

The same images are classified with several prompt sets; every replicate resamples the images once for all of them, so
differences between sets are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Statistic, Stratum, Sums, Term, Terms, sums_evidence
from pytest_clip_robust.core.measurement import Direction, Measurement, Metric, Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.calibration import expected_error
from pytest_clip_robust.scoring.confidence import BINS, Confidences, bin_of
from pytest_clip_robust.scoring.decisions import TemplateAnswers
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.stats import roc
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.resampling import UNBOUNDED, interval_of

CELLS = 100
"""The evidence of AUROC pools neighbouring scores in so many cells; its value never does."""

AGREEMENT = Metric("prompts.agreement", direction="higher", tolerance=0.01, headline=False)
SPREAD = Metric("prompts.spread_{quantity}", direction="lower", tolerance=0.01, headline=False)
FEWER = Metric("prompts.fewer_templates_{quantity}", direction="higher", tolerance=0.01, headline=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPromptSet:
    """One quantity under S prompt sets.

    quantity: its name; direction: which values are better. names: of the S sets; templates: S numbers of templates.
    values: (S,), exact. evidence: its statistic returns (B, S) values of B replicates that resample the same n samples.

    Raises:
        MeasurementError: fewer than two prompt sets.
    """

    quantity: str
    direction: Direction
    dataset: str
    names: tuple[str, ...]
    templates: tuple[int, ...]
    values: Floats
    evidence: Evidence
    n: int
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise MeasurementError(f"prompt sets {list(self.names)}: a comparison needs at least two")

    def __len__(self) -> int:
        return self.n


def agreement(found: TemplateAnswers) -> Measurement:
    """Measure how often two templates give the same answer to an image, as ``prompts.agreement``.

    The mean over images of the share of agreeing pairs of templates. `details` has the share of images on which all
    agree, Fleiss' kappa (1971), and the accuracy of the worst and the best template alone.

    Raises:
        MeasurementError: there are fewer than two templates.
    """
    templates = found.answers.shape[1]
    if templates < 2:
        raise MeasurementError(f"{found.dataset!r}: {templates} template agrees with itself; give a set of at least 2")
    votes = _votes(found.answers)
    agreeing = (votes * (votes - 1)).sum(axis=1) / (templates * (templates - 1))
    by_chance = float(((votes.sum(axis=0) / votes.sum()) ** 2).sum())
    kappa = (float(agreeing.mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0
    alone = (found.answers == found.labels[:, None]).mean(axis=0)
    return Measurement.of(
        found,
        AGREEMENT,
        float(agreeing.mean()),
        mean_interval(agreeing, bounds=(0.0, 1.0)),
        outcomes=agreeing,
        samples=found.samples,
        details={
            "templates": templates,
            "unanimous": float((votes.max(axis=1) == templates).mean()),
            "fleiss_kappa": kappa,
            "worst_template": float(alone.min()),
            "best_template": float(alone.max()),
        },
    )


def spread(found: ByPromptSet) -> Measurement:
    """Measure the best minus the worst value over the prompt sets, as ``prompts.spread_<quantity>``; 0 is best.

    `details` has the value under each set.
    """

    def width(values: Floats) -> Floats:
        widths: Floats = np.ptp(values, axis=1)
        return widths

    return _compared(found, SPREAD, width, bounds=(0.0, np.inf))


def fewer_templates(found: ByPromptSet) -> Measurement:
    """Measure the value with the fewest templates minus that with the most, ``prompts.fewer_templates_<quantity>``.

    Of several sets with the fewest, or the most, the first counts. The study finds that fewer templates help OOD
    detection and calibration and do not change robustness to visual factors (section 5.6 of arXiv 2410.01534).

    Raises:
        MeasurementError: all sets have as many templates.
    """
    fewest, most = int(np.argmin(found.templates)), int(np.argmax(found.templates))
    if found.templates[fewest] == found.templates[most]:
        raise MeasurementError(
            f"prompt sets {list(found.names)} all have {found.templates[0]} templates; compare sets of different sizes"
        )

    def change(values: Floats) -> Floats:
        return values[:, fewest] - values[:, most]

    return _compared(
        found,
        replace(FEWER, direction=found.direction),
        change,
        remark=f"{found.names[fewest]} ({found.templates[fewest]}) minus {found.names[most]} ({found.templates[most]})",
    )


def accuracy_by_prompts(correct: Mapping[str, NDArray[np.bool_]], **about: object) -> ByPromptSet:
    """Compare accuracies; `correct` has (N,) booleans per prompt set. `about` are the other fields of ByPromptSet."""
    names = tuple(correct)

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [*(Term(columns[f"correct.{name}"]) for name in names), Term()]

    def accuracies(sums: Sequence[Sums]) -> Floats:
        *right, n = sums[0]
        return np.hstack(right) / n

    columns = {f"correct.{name}": column for name, column in correct.items()}
    values = np.array([column.mean() for column in correct.values()])
    return _by_prompt_set(names, values, [columns], terms, accuracies, direction="higher", about=about)


def ece_by_prompts(found: Mapping[str, Confidences], **about: object) -> ByPromptSet:
    """Compare ECE with 15 equal-width bins; `found` has the confidences under each prompt set."""
    names = tuple(found)

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        of_sets = [(columns[f"confidence.{n}"].astype(np.float64), columns[f"correct.{n}"]) for n in names]
        return [*(Term(right - sure, bin_of(sure), BINS) for sure, right in of_sets), Term()]

    def errors(sums: Sequence[Sums]) -> Floats:
        *gaps, n = sums[0]
        return np.column_stack([np.abs(gap).sum(axis=1) for gap in gaps]) / n

    columns: dict[str, Column] = {f"confidence.{n}": one.confidence.astype(np.float32) for n, one in found.items()}
    columns |= {f"correct.{n}": one.correct for n, one in found.items()}
    values = np.array([expected_error(one).value for one in found.values()])
    return _by_prompt_set(names, values, [columns], terms, errors, direction="lower", about=about)


def auroc_by_prompts(found: Mapping[str, tuple[Scores, Scores]], **about: object) -> ByPromptSet:
    """Compare the AUROC of ID over OOD scores; `found` has both under each prompt set."""
    names = tuple(found)

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(None, columns[f"cell.{name}"].astype(np.int64), CELLS) for name in names]

    def areas(sums: Sequence[Sums]) -> Floats:
        inside, outside = sums
        return np.column_stack(
            [roc.auroc(one[:, ::-1], other[:, ::-1]) for one, other in zip(inside, outside, strict=True)]
        )

    strata: list[dict[str, Column]] = [{}, {}]
    for name, pair in found.items():
        for columns, cell in zip(strata, roc.cells_of([one.values for one in pair], cells=CELLS), strict=True):
            columns[f"cell.{name}"] = cell.astype(np.uint8)
    exact = [roc.tally(*(one.values for one in pair)) for pair in found.values()]
    values = np.array([float(roc.auroc(one.positives, one.negatives)) for one in exact])
    return _by_prompt_set(names, values, strata, terms, areas, direction="higher", about=about)


def _by_prompt_set(
    names: tuple[str, ...],
    values: Floats,
    strata: Sequence[Mapping[str, Column]],
    terms: Terms,
    of_sets: Statistic,
    *,
    direction: Direction,
    about: Mapping[str, object],
) -> ByPromptSet:
    named = [Stratum(name=f"{about['dataset']}.{i}", columns=columns) for i, columns in enumerate(strata)]
    build: Callable[..., ByPromptSet] = ByPromptSet
    return build(
        names=names,
        values=values,
        evidence=sums_evidence(named, terms, of_sets),
        n=sum(map(len, named)),
        direction=direction,
        **about,
    )


def _compared(
    found: ByPromptSet,
    metric: Metric,
    of_values: Callable[[Floats], Floats],
    *,
    bounds: tuple[float, float] = UNBOUNDED,
    remark: str = "",
) -> Measurement:
    """Measure `of_values`, a function of (B, S) values under S prompt sets that returns (B,)."""
    of_sets = found.evidence.statistic
    assert of_sets is not None  # noqa: S101 - evidence of prompt sets is for a test of sums
    value = float(of_values(found.values[None])[0])
    evidence = replace(found.evidence, statistic=lambda sums: of_values(of_sets(sums)))
    return Measurement.of(
        found,
        metric.named(quantity=found.quantity),
        value,
        interval_of(evidence, value=value, bounds=bounds),
        evidence=evidence,
        details={of: float(one) for of, one in zip(found.names, found.values, strict=True)},
        remark=remark,
    )


def _votes(answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N, A) counts of templates for each of the A answers that any template gave."""
    distinct, place = np.unique(answers, return_inverse=True)
    n, templates = answers.shape
    cell = np.repeat(np.arange(n), templates) * len(distinct) + place.ravel()
    return np.bincount(cell, minlength=n * len(distinct)).reshape(n, len(distinct))
