"""Prompt sensitivity: how much accuracy, calibration and OOD detection depend on the wording of prompts.

The same images are classified with several prompt sets; every replicate resamples the images once for all of them, so
differences between sets are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Statistic, Stratum, Sums, Term, Terms, sums_evidence
from pytest_clip_robust.core.measurement import Direction, Measurement, Metric, Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.calibration import expected_error
from pytest_clip_robust.scoring.confidence import BINS, Confidences, bin_of
from pytest_clip_robust.scoring.decisions import Decisions, TemplateAnswers
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.scoring.prompted import ByPrompts
from pytest_clip_robust.stats import roc
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.resampling import UNBOUNDED, interval_of

CELLS = 100
"""The evidence of AUROC pools neighbouring scores in so many cells; its value never does."""

AGREEMENT = Metric("prompts.agreement", direction="higher", tolerance=0.01, headline=False)
SPREAD = Metric("prompts.spread_{quantity}", direction="lower", tolerance=0.01, headline=False)
FEWER = Metric("prompts.fewer_templates_{quantity}", direction="higher", tolerance=0.01, headline=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One number of a model under each of S prompt sets.

    name: its metric; direction: which values are better. names: of the prompt sets; templates: their numbers.
    values: (S,), exact. evidence: its statistic returns (B, S) values of B replicates that resample the same n samples.
    """

    name: str
    direction: Direction
    dataset: str
    names: tuple[str, ...]
    templates: tuple[int, ...]
    values: Floats
    evidence: Evidence
    provenance: Provenance

    def __len__(self) -> int:
        return sum(self.evidence.shape().values())


def top1(found: ByPrompts[Decisions], *, name: str = "top1") -> Quantity:
    """Return top-1 accuracy under each prompt set; `name` goes into the metric's id."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [*(Term(columns[f"correct.{one}"]) for one in found.answers), Term()]

    def accuracies(sums: Sequence[Sums]) -> Floats:
        *right, n = sums[0]
        return np.hstack(right) / n

    columns: dict[str, Column] = {f"correct.{one}": decisions.correct for one, decisions in found.answers.items()}
    values = [decisions.accuracy for decisions in found.answers.values()]
    return _quantity(
        found, name, direction="higher", values=values, strata=[columns], terms=terms, statistic=accuracies
    )


def ece(found: ByPrompts[Confidences]) -> Quantity:
    """Return ECE with 15 equal-width bins under each prompt set."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        of_sets = [(columns[f"confidence.{n}"].astype(np.float64), columns[f"correct.{n}"]) for n in found.answers]
        return [*(Term(right - sure, bin_of(sure), BINS) for sure, right in of_sets), Term()]

    def errors(sums: Sequence[Sums]) -> Floats:
        *gaps, n = sums[0]
        return np.column_stack([np.abs(gap).sum(axis=1) for gap in gaps]) / n

    columns: dict[str, Column] = {
        f"confidence.{n}": one.confidence.astype(np.float32) for n, one in found.answers.items()
    }
    columns |= {f"correct.{n}": one.correct for n, one in found.answers.items()}
    values = [expected_error(one).value for one in found.answers.values()]
    return _quantity(
        found,
        f"ece_{BINS}_equal_width",
        direction="lower",
        values=values,
        strata=[columns],
        terms=terms,
        statistic=errors,
    )


def auroc(found: ByPrompts[tuple[Scores, Scores]]) -> Quantity:
    """Return the AUROC of ID over OOD scores under each prompt set."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(None, columns[f"cell.{name}"].astype(np.int64), CELLS) for name in found.answers]

    def areas(sums: Sequence[Sums]) -> Floats:
        inside, outside = sums
        return np.column_stack(
            [roc.auroc(one[:, ::-1], other[:, ::-1]) for one, other in zip(inside, outside, strict=True)]
        )

    strata: list[dict[str, Column]] = [{}, {}]
    for name, pair in found.answers.items():
        for columns, cell in zip(strata, roc.cells_of([one.values for one in pair], cells=CELLS), strict=True):
            columns[f"cell.{name}"] = cell.astype(np.uint8)
    exact = [roc.tally(*(one.values for one in pair)) for pair in found.answers.values()]
    values = [float(roc.auroc(one.positives, one.negatives)) for one in exact]
    score = next(iter(found.answers.values()))[0].score
    return _quantity(
        found, f"auroc_{score}", direction="higher", values=values, strata=strata, terms=terms, statistic=areas
    )


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


def spread(found: Quantity) -> Measurement:
    """Measure the best minus the worst value over the prompt sets, as ``prompts.spread_<quantity>``; 0 is best.

    `details` has the value under each set.
    """

    def width(values: Floats) -> Floats:
        widths: Floats = np.ptp(values, axis=1)
        return widths

    return _compared(found, SPREAD, width, bounds=(0.0, np.inf))


def fewer_templates(found: Quantity) -> Measurement:
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


def _quantity(
    found: ByPrompts[Any],
    name: str,
    *,
    direction: Direction,
    values: Sequence[float],
    strata: Sequence[Mapping[str, Column]],
    terms: Terms,
    statistic: Statistic,
) -> Quantity:
    named = [Stratum(name=f"{found.dataset}.{i}", columns=columns) for i, columns in enumerate(strata)]
    return Quantity(
        name=name,
        direction=direction,
        dataset=found.dataset,
        names=tuple(found.answers),
        templates=found.templates,
        values=np.array(values),
        evidence=sums_evidence(named, terms, statistic),
        provenance=found.provenance,
    )


def _compared(
    found: Quantity,
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
        metric.named(quantity=found.name),
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
