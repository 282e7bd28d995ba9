"""Gain of large multimodal models (LMMs) over the CLIP tower that they are built on: where does a language model help?

Both answer the same questions about the same samples, so differences are paired. The study's finding is that the LMM
wins only where the tower is weak. To measure that needs two halves: one to find the weak categories, one to compare on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, mean_evidence, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.confidence import halves
from pytest_clip_robust.scoring.forced_choice import Choices
from pytest_clip_robust.stats.intervals import mean_interval
from pytest_clip_robust.stats.multiplicity import adjusted
from pytest_clip_robust.stats.paired import compare, mcnemar
from pytest_clip_robust.stats.resampling import interval_of

ALPHA = 0.05
"""The share of false calls among the categories that are called better or worse."""

FEWEST_CATEGORIES = 4
NAMES_SHOWN = 3

GAIN = Metric("multimodal.gain_over_tower_{variant}", direction="higher", tolerance=0.01, headline=False)
WHERE_WEAK = Metric("multimodal.gain_where_weak_{variant}", direction="higher", tolerance=0.02, headline=False)

Holds = Literal["holds", "contradicted", "undecided"]


@dataclass(frozen=True, slots=True)
class WeakTowerFinding:
    """Whether an LMM beats its tower only where the tower is weak, by the gains on two parts of held-out samples.

    verdict: ``holds`` if the gain on the challenging categories, and its difference from the gain on the others, are
    above 0 with their whole 95 % intervals, and the gain on the others is not. ``contradicted`` if the LMM is certainly
    worse on the challenging categories, or certainly better on the others. ``undecided`` otherwise.
    difference: the interval of the first gain minus the second. evidence: of that difference.
    """

    verdict: Holds
    challenging: Measurement
    others: Measurement
    difference: Interval
    evidence: Evidence

    @property
    def statement(self) -> str:
        """The finding as one sentence with its numbers."""
        weak, rest = (
            f"{one.value:+.3f} ({one.interval.low:+.3f} to {one.interval.high:+.3f})"
            for one in (self.challenging, self.others)
        )
        return (
            f"the LMM beats its tower only where the tower is weak: {self.verdict}; "
            f"gain {weak} on challenging categories, {rest} on the others"
        )


def gain_over_tower(lmm: Choices, tower: Choices, category: str = "") -> Measurement:
    """Measure the LMM's accuracy minus its tower's on the same questions, as ``multimodal.gain_over_tower_<variant>``.

    -1 to 1. Over all samples, or over those of one `category`; for samples with a visual factor give `Choices.part` of
    both. The interval is that of the paired difference: Bonett and Price (2012), or Student's where samples were asked
    in several orders. Over all samples, `details` has the gain of every category, and how many categories are better or
    worse at a false discovery rate of 5 % (Benjamini and Hochberg 1995).

    Raises:
        MeasurementError: both were not asked the same questions, or no sample is of `category`.
    """
    _check_pair(lmm, tower)
    if category:
        keep = lmm.labels == _category(lmm, category)
        if not keep.any():
            raise MeasurementError(f"{lmm.dataset!r} has no samples of {category!r}")
        lmm, tower = lmm.part(keep), tower.part(keep)
    details, remark = ({}, "") if category else _by_category(lmm, tower)
    return _gain(lmm, tower, subset=category, details=details, remark=remark)


def gain_on_part(lmm: Choices, tower: Choices, part: str) -> Measurement:
    """Measure the gain over the tower on a part of the samples: those with a visual factor, or under a corruption.

    `lmm` and `tower` hold these samples only (`Choices.part`); `part` is the subset that the measurement names. The
    interval is that of `gain_over_tower`.

    Raises:
        MeasurementError: both were not asked the same questions.
    """
    _check_pair(lmm, tower)
    return _gain(lmm, tower, subset=part)


def gain_on_challenging(lmm: Choices, tower: Choices, *, others: bool = False) -> Measurement:
    """Measure the gain over the tower on the quartile of categories that the tower finds hardest.

    The categories are those with the lowest accuracy of the tower on one half of the samples, and the gain is measured
    on the other half. On the same half, categories on which the tower had bad luck would show a gain of a model that is
    no better (regression to the mean). The subset is ``challenging``, or ``others`` with `others`: all other
    categories of the same half. The interval resamples the samples that are measured; it takes the categories as given.

    Raises:
        MeasurementError: as for `gain_over_tower`, or fewer than four categories have samples in both halves.
    """
    _check_pair(lmm, tower)
    chosen, held_out = challenging_categories(tower)
    lmm, tower = lmm.part(held_out), tower.part(held_out)
    inside = np.isin(lmm.labels, chosen) != others
    gains = lmm.shares - tower.shares
    evidence = _part_evidence(lmm.dataset, gains, inside)
    return Measurement.of(
        lmm,
        GAIN.named(variant=lmm.variant),
        float(gains[inside].mean()),
        interval_of(evidence, bounds=(-1.0, 1.0), size=int(inside.sum())),
        n=int(inside.sum()),
        subset="others" if others else "challenging",
        evidence=evidence,
        details={
            "lmm": float(lmm.shares[inside].mean()),
            "tower": float(tower.shares[inside].mean()),
            "categories": len(np.unique(lmm.labels[inside])),
        },
        remark="" if others else f"hardest for the tower: {_listed([lmm.class_names[i] for i in chosen.tolist()])}",
    )


def gain_where_weak(lmm: Choices, tower: Choices) -> Measurement:
    """Measure how much larger the gain is on challenging categories, as ``multimodal.gain_where_weak_<variant>``.

    The gain on the challenging categories minus that on the others, -2 to 2; `remark` is the study's finding as
    `beats_tower_only_where_weak` decides it. The interval resamples the samples that are measured.

    Raises:
        MeasurementError: as for `beats_tower_only_where_weak`.
    """
    finding = beats_tower_only_where_weak(lmm, tower)
    return Measurement.of(
        lmm,
        WHERE_WEAK.named(variant=lmm.variant),
        finding.challenging.value - finding.others.value,
        finding.difference,
        n=finding.challenging.n + finding.others.n,
        evidence=finding.evidence,
        details={"challenging": finding.challenging.value, "others": finding.others.value},
        remark=finding.statement,
    )


def beats_tower_only_where_weak(lmm: Choices, tower: Choices) -> WeakTowerFinding:
    """Decide the study's finding on one LMM and its tower; see `WeakTowerFinding` and `gain_on_challenging`.

    Raises:
        MeasurementError: as for `gain_on_challenging`, or no other category has samples in the measured half.
    """
    weak, rest = (gain_on_challenging(lmm, tower, others=others) for others in (False, True))
    chosen, held_out = challenging_categories(tower)
    gains = (lmm.shares - tower.shares)[held_out]
    evidence = _difference_evidence(lmm.dataset, gains, np.isin(lmm.labels[held_out], chosen))
    difference = interval_of(evidence, bounds=(-2.0, 2.0), size=min(weak.n, rest.n))
    verdict: Holds = "undecided"
    if weak.interval.high < 0 or rest.interval.low > 0:
        verdict = "contradicted"
    elif weak.interval.low > 0 and difference.low > 0:
        verdict = "holds"
    return WeakTowerFinding(verdict, weak, rest, difference, evidence)


def challenging_categories(tower: Choices) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the quartile of categories with the lowest accuracy on one half, ascending, and the other half (N,).

    A quarter of the C categories that have samples in both halves, rounded up; of equally hard ones those with lower
    positions. The half depends on the samples' names alone (`scoring.confidence.halves`).

    Raises:
        MeasurementError: fewer than four categories have samples in both halves.
    """
    known = halves(tower)
    categories = np.intersect1d(tower.labels[known], tower.labels[~known])
    if len(categories) < FEWEST_CATEGORIES:
        raise MeasurementError(
            f"{tower.dataset!r}: {len(categories)} categories have samples in both halves, which have no quartile; "
            f"expected at least {FEWEST_CATEGORIES}"
        )
    accuracies = [tower.shares[known & (tower.labels == one)].mean() for one in categories]
    hardest = categories[np.argsort(accuracies, kind="stable")[: -(-len(categories) // 4)]]
    return np.sort(hardest), ~known


def _gain(
    lmm: Choices, tower: Choices, *, subset: str, details: Mapping[str, float] | None = None, remark: str = ""
) -> Measurement:
    gains = lmm.shares - tower.shares
    return Measurement.of(
        lmm,
        GAIN.named(variant=lmm.variant),
        float(gains.mean()),
        _paired_interval(tower.shares, lmm.shares),
        subset=subset,
        outcomes=gains,
        samples=lmm.samples,
        details={"lmm": float(lmm.shares.mean()), "tower": float(tower.shares.mean())} | dict(details or {}),
        remark=remark,
    )


def _part_evidence(dataset: str, gains: Floats, inside: NDArray[np.bool_]) -> Evidence:
    """Return the evidence of a mean gain over a part of the samples, which another tower would choose differently."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns["gain"] * columns["inside"]), Term(columns["inside"])]

    def statistic(sums: Sequence[Sums]) -> Floats:
        gained, n = (one[:, 0] for one in sums[0])
        with np.errstate(invalid="ignore"):
            mean: Floats = gained / n
        return mean

    columns = {"gain": gains.astype(np.float32), "inside": inside}
    return sums_evidence([Stratum(name=dataset, columns=columns)], terms, statistic)


def _difference_evidence(dataset: str, gains: Floats, inside: NDArray[np.bool_]) -> Evidence:
    """Return the evidence of the mean gain inside of a part minus that outside of it."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        sides = (columns["inside"], ~columns["inside"])
        return [one for side in sides for one in (Term(columns["gain"] * side), Term(side))]

    def statistic(sums: Sequence[Sums]) -> Floats:
        inner, n_inner, outer, n_outer = (one[:, 0] for one in sums[0])
        with np.errstate(invalid="ignore"):
            difference: Floats = inner / n_inner - outer / n_outer
        return difference

    columns = {"gain": gains.astype(np.float32), "inside": inside}
    return sums_evidence([Stratum(name=dataset, columns=columns)], terms, statistic)


def _paired_interval(before: Floats, after: Floats) -> Interval:
    """Return the interval of the mean of ``after - before``, shares of correct answers (N,)."""
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        return mcnemar(before == 1, after == 1).interval
    return mean_interval(after - before, bounds=(-1.0, 1.0))


def _by_category(lmm: Choices, tower: Choices) -> tuple[dict[str, float], str]:
    """Return the gain of every category, and a remark with those that are better or worse by more than chance."""
    classes = np.unique(lmm.labels)
    gains, p_values = np.zeros(len(classes)), np.ones(len(classes))
    for i, one in enumerate(classes):
        before, after = tower.shares[lmm.labels == one], lmm.shares[lmm.labels == one]
        gains[i] = (after - before).mean()
        if len(before) > 1:
            found = compare(mean_evidence("", before), mean_evidence("", after), direction="higher")
            p_values[i] = min(1.0, 2 * min(found.p_worse, found.p_better))
    certain = adjusted(p_values, share=1.0) <= ALPHA
    names = [lmm.class_names[i] for i in classes.tolist()]
    better, worse = ([names[i] for i in np.flatnonzero(certain & side)] for side in (gains > 0, gains < 0))
    details = {"categories": float(len(classes)), "categories_better": len(better), "categories_worse": len(worse)}
    details |= {f"gain.{name}": float(gain) for name, gain in zip(names, gains, strict=True)}
    return details, (
        f"better on {len(better)} of {len(classes)} categories{_in_brackets(better)}, "
        f"worse on {len(worse)}{_in_brackets(worse)}"
    )


def _in_brackets(names: Sequence[str]) -> str:
    return f" ({_listed(names)})" if names else ""


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _category(found: Choices, category: str) -> int:
    if category not in found.class_names:
        raise MeasurementError(
            f"{found.dataset!r} has no category {category!r}{did_you_mean(category, found.class_names)}"
        )
    return found.class_names.index(category)


def _check_pair(lmm: Choices, tower: Choices) -> None:
    same = (
        tuple(lmm.samples) == tuple(tower.samples)
        and np.array_equal(lmm.labels, tower.labels)
        and np.array_equal(lmm.of_sample, tower.of_sample)
        and np.array_equal(lmm.shown, tower.shown)
    )
    if not same:
        raise MeasurementError(
            f"{lmm.dataset!r}: the LMM and its tower were not asked the same questions; use scoring.tower_choices"
        )
