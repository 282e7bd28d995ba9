"""Invariance: do answers stay the same under changes that should not matter, and up to which strength?

Metamorphic testing (Chen et al. 1998, HKUST-CS98-01): what a change should do to an answer is known where the right
answer is not. The strength at which an answer changes is searched for each image; fixed strengths are survived by all
images or by none of them where a model is much better or worse than expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Column, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric, Miss
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import STRENGTH_STEPS, STRENGTH_UNITS, TRANSFORMATIONS, strength_at
from pytest_clip_robust.scoring.decisions import MISSES_KEPT, Decisions
from pytest_clip_robust.scoring.invariance import BreakingSteps, ChangedAnswers, Combination, CombinedAnswers
from pytest_clip_robust.stats.intervals import mean_interval, wilson
from pytest_clip_robust.stats.resampling import interval_of, value_from

SEARCHED = tuple(name for name in TRANSFORMATIONS if STRENGTH_STEPS[name] > 1)
"""The transformations that have more than one strength."""

AGREEMENT = Metric("invariance.agreement", direction="higher", tolerance=0.01, headline=True)
COMBINATIONS = Metric("invariance.combination_agreement", direction="higher", tolerance=0.01, headline=False)
TEXTS = Metric("invariance.text_agreement", direction="higher", tolerance=0.01, headline=False)
RADIUS: dict[str, Metric] = {
    name: Metric(f"invariance.radius_{name}", direction="higher", tolerance=strength_at(name, 1), headline=False)
    for name in SEARCHED
}
"""By transformation, in its units; the tolerance is one step."""

MOST_COMBINED = 3
"""Transformations of a combination at most; so many rows of evidence have the mildest one."""

MILDEST = "mildest combination"
"""The stratum of evidence that holds the mildest combination found, so that it is stored with a baseline."""


def agreement(answers: Sequence[ChangedAnswers]) -> Measurement:
    """Measure the share of answers that stay the same, the mean over T transformations, as ``invariance.agreement``.

    An image counts by the share of transformations under which its answer stays, each at the middle of its strengths.
    A wrong answer that stays counts as well: this is not accuracy. The interval is Student's over images. `details`
    have the share under each transformation.

    Raises:
        MeasurementError: no transformation is given, or there is a single image.
    """
    if not answers:
        raise MeasurementError("agreement under no transformation; give at least one")
    kept = np.mean([one.kept for one in answers], axis=0)
    first = answers[0]
    return Measurement.of(
        first,
        AGREEMENT,
        float(kept.mean()),
        mean_interval(kept, bounds=(0.0, 1.0)),
        outcomes=kept,
        samples=first.before.samples,
        details={one.change: float(one.kept.mean()) for one in answers},
        provenance=first.provenance.merged_with(*(one.provenance for one in answers[1:])),
    )


def agreement_under(answers: ChangedAnswers) -> Measurement:
    """Measure the share of answers that stay under one transformation, as ``invariance.agreement`` of that subset."""
    return _share_kept(answers, AGREEMENT.as_detail())


def text_agreement(answers: ChangedAnswers) -> Measurement:
    """Measure the share of answers that stay under one change of prompts, as ``invariance.text_agreement``."""
    return _share_kept(answers, TEXTS)


def radius(found: BreakingSteps) -> Measurement:
    """Measure the median strength at which right answers change, as ``invariance.radius_<transformation>``.

    In the units of the transformation. The median is over the images that are right before: the smallest strength at
    which at least half of them have changed. Images whose answer never changes count as larger than every strength; if
    these are more than half, the value is the largest strength, and the remark says that the median is above it. The
    interval resamples images (percentiles); without spread, it is Wilson's. `plot` has the share of right answers that
    stay, by strength. `misses` are the images that change at the mildest strengths.

    Raises:
        MeasurementError: no answer is right before, so none can be lost.
    """
    right, name, strengths = found.before.correct, found.transformation, np.array(found.strengths)
    if not right.any():
        raise MeasurementError(f"{found.dataset!r}: no answer is right before the transformation, so none can be lost")
    cells = len(strengths) + 1

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns["right"], columns["step"].astype(np.int64) - 1, cells)]

    def median(sums: Sequence[Sums]) -> Floats:
        (counts,) = sums[0]
        total = counts.sum(axis=1)
        first = (2 * counts.cumsum(axis=1) >= total[:, None]).argmax(axis=1)
        return np.where(total > 0, strengths[np.minimum(first, len(strengths) - 1)], np.nan)

    columns = {"right": right, "step": found.steps.astype(np.uint8)}

    def kept(strata: Sequence[Mapping[str, Column]]) -> dict[str, Floats]:
        steps = strata[0]["step"][strata[0]["right"]]
        return {"strength": strengths, "share_kept": np.array([(steps > step).mean() for step in range(1, cells)])}

    evidence = sums_evidence([Stratum(name=found.dataset, columns=columns)], terms, median, plot=kept)
    plot = kept([columns])
    rows = np.flatnonzero(right & (found.steps < cells))
    rows = rows[np.argsort(found.steps[rows], kind="stable")]
    return Measurement.of(
        found,
        RADIUS[name],
        value_from(evidence),
        interval_of(evidence, bounds=(0.0, float(strengths[-1])), size=int(right.sum())),
        evidence=evidence,
        misses=_misses(found.before, found.after, found.confidence, rows),
        n=int(right.sum()),
        details={"never_changed": float(plot["share_kept"][-1])},
        remark=_radius_remark(found, rows),
        plot=plot,
    )


def combination_agreement(answers: CombinedAnswers) -> Measurement:
    """Measure the share of answers that stay under combinations, as ``invariance.combination_agreement``.

    The mean over images and over the K combinations that are drawn for every model; the interval resamples images.
    `details` have the share under each, named by transformations and steps, and how many the search tried. The remark
    names the mildest combination that the search found for this model, and the evidence holds it.
    """
    kept = answers.kept.mean(axis=1)
    strata = [
        Stratum(name=answers.dataset, columns={"kept": kept.astype(np.float32)}),
        Stratum(name=MILDEST, columns=_columns(answers.mildest.combination if answers.mildest else ())),
    ]

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns["kept"].astype(np.float64)), Term()] if "kept" in columns else [Term()]

    def mean(sums: Sequence[Sums]) -> Floats:
        total, n = sums[0]
        return (total / n)[:, 0]

    evidence = sums_evidence(strata, terms, mean)
    shares = answers.kept.mean(axis=0).tolist()
    names = ["+".join(f"{name}_{step}" for name, step in one) for one in answers.combinations]
    return Measurement.of(
        answers,
        COMBINATIONS,
        float(kept.mean()),
        interval_of(evidence, value=float(kept.mean()), bounds=(0.0, 1.0), size=len(kept)),
        evidence=evidence,
        samples=answers.before.samples,
        details=dict(zip(names, shares, strict=True)) | {"tried_by_search": float(answers.tried)},
        remark=_mildest_remark(answers),
    )


def stored_combination(columns: Mapping[tuple[str, str], Column]) -> Combination:
    """Return the mildest combination that a baseline holds in its columns, by stratum and name; empty for none.

    What this release does not know is left out.
    """
    stored = [columns.get((MILDEST, name), np.zeros(0, np.uint8)).tolist() for name in ("transformation", "step")]
    return tuple(
        (TRANSFORMATIONS[place - 1], step)
        for place, step in zip(*stored, strict=False)
        if 1 <= place <= len(TRANSFORMATIONS) and 1 <= step <= STRENGTH_STEPS[TRANSFORMATIONS[place - 1]]
    )


def _columns(combination: Combination) -> dict[str, Column]:
    """Return a combination as columns of `MOST_COMBINED` rows; 0 where there are fewer transformations."""
    rows = np.zeros((MOST_COMBINED, 2), np.uint8)
    for row, (name, step) in zip(rows, combination, strict=False):
        row[:] = _place(name) + 1, step
    return {"transformation": rows[:, 0].copy(), "step": rows[:, 1].copy()}


def _share_kept(answers: ChangedAnswers, metric: Metric) -> Measurement:
    kept, before = answers.kept, answers.before
    changed = np.flatnonzero(~kept)
    lost = changed[before.correct[changed]]
    # A right answer that is lost says more than a wrong one that becomes another.
    example = [*lost, *changed][:1]
    return Measurement.of(
        answers,
        metric,
        float(kept.mean()),
        wilson(int(kept.sum()), len(kept)),
        subset=answers.change,
        outcomes=kept,
        samples=before.samples,
        misses=_misses(before, answers.after, answers.confidence, lost[np.argsort(-answers.confidence[lost])]),
        details={"lost": float(lost.size), "gained": float((answers.after == before.labels)[changed].sum())},
        remark="".join(f"such as {_change(before, answers.after, int(row))}" for row in example),
    )


def _misses(before: Decisions, after: Ints, confidence: Floats, rows: Ints) -> tuple[Miss, ...]:
    """Return the first ten of `rows`: images that are right before and wrong after."""
    return tuple(
        Miss(
            sample=before.samples[row],
            truth=before.class_names[before.labels[row]],
            predicted=before.class_names[after[row]],
            confidence=float(confidence[row]),
        )
        for row in rows[:MISSES_KEPT].tolist()
    )


def _change(before: Decisions, after: Ints, row: int) -> str:
    assert before.answers is not None  # noqa: S101 - checked by the answers' classes
    names = before.class_names
    return f"{before.samples[row]}: {names[before.answers[row]]} -> {names[after[row]]}"


def _radius_remark(found: BreakingSteps, rows: Ints) -> str:
    """Return the mildest change in words; `rows` are the images that change, the mildest first."""
    parts = []
    n = int(found.before.correct.sum())
    if 2 * len(rows) < n:
        parts.append(f"the median is above the largest strength: {n - len(rows)} of {n} answers never change")
    if len(rows):
        example = _change(found.before, found.after, int(rows[0]))
        parts.append(f"mildest: {described(found.transformation, int(found.steps[rows[0]]))}, {example}")
    return "; ".join(parts)


def _mildest_remark(answers: CombinedAnswers) -> str:
    found = answers.mildest
    if found is None:
        return (
            f"none of {answers.tried} combinations that were tried leaves fewer than {answers.demanded:.0%} of answers"
        )
    by = " and ".join(described(*one) for one in found.combination)
    return f"mildest: {by} leaves {found.kept:.0%}, such as {found.sample}: {found.before} -> {found.after}"


def described(transformation: str, step: int) -> str:
    """Return a transformation at a step of its strength in words.

    >>> described("rotation", 2)
    'rotation (12 degrees)'
    """
    name = TRANSFORMATIONS[_place(transformation)]
    return name if STRENGTH_STEPS[name] == 1 else f"{name} ({strength_at(name, step):g} {STRENGTH_UNITS[name]})"


def _place(transformation: str) -> int:
    names: tuple[str, ...] = TRANSFORMATIONS
    return names.index(transformation)
