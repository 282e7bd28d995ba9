"""Shape bias: where an image has the shape of one class and the texture of another, which does the model name?

After Geirhos et al. (2019). The ratio counts only answers that name one of the two, so that it is unstable where few
do; cue coverage says how many did. How an answer was reached is part of every metric's id: ``direct`` among the set's
own classes, ``imagenet_mean`` among ImageNet's 1,000 with the mean of each class's members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.cues import CueAnswers
from pytest_clip_robust.stats.bootstrap import bootstrap_rows
from pytest_clip_robust.stats.intervals import wilson, wilson_of_mean


def shape_bias(found: CueAnswers) -> Measurement:
    """Measure ``shape / (shape + texture)`` over answers that name either, as ``shape_bias.ratio_<decision>``.

    `details` has both counts, cue coverage, and each shape class's own ratio where it has one.

    Raises:
        MeasurementError: no answer names the shape or the texture.
    """
    shape, texture = _cues(found)
    decided = shape | texture
    _check_decided(found, decided)
    n_shape, n = int(shape.sum()), int(decided.sum())
    return Measurement(
        metric=f"shape_bias.ratio_{found.decision}",
        value=n_shape / n,
        n=n,
        interval=wilson(n_shape, n),
        direction="higher",
        dataset=found.dataset,
        evidence=_ratio_evidence(found),
        details={"shape_decisions": n_shape, "texture_decisions": n - n_shape, "cue_coverage": _coverage(found)}
        | {f"ratio.{name}": ratio for name, (ratio, _) in _per_class(found).items()},
        provenance=found.provenance,
    )


def class_average(found: CueAnswers) -> Measurement:
    """Measure the unweighted mean of the shape classes' ratios, as ``shape_bias.class_average_<decision>``.

    Classes none of whose images were named by shape or texture are left out; `details` counts the others.

    Raises:
        MeasurementError: as for `shape_bias`.
    """
    shape, texture = _cues(found)
    _check_decided(found, shape | texture)
    ratios = _per_class(found)
    value = float(np.mean([ratio for ratio, _ in ratios.values()]))
    sizes = np.array([n for _, n in ratios.values()])
    return _of_all(
        found,
        "class_average",
        value,
        wilson_of_mean(value, len(sizes) ** 2 / (1 / sizes).sum()),
        evidence=_ratio_evidence(found, by_class=True),
        details={"classes": len(ratios), "lowest": min(ratio for ratio, _ in ratios.values())},
    )


def cue_coverage(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the shape or the texture, as ``shape_bias.cue_coverage_<decision>``."""
    shape, texture = _cues(found)
    return _share(found, "cue_coverage", shape | texture)


def shape_accuracy(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the shape, as ``shape_bias.shape_accuracy_<decision>``."""
    return _share(found, "shape_accuracy", _cues(found)[0])


def texture_accuracy(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the texture, as ``shape_bias.texture_accuracy_<decision>``.

    Its direction is that of shape bias: less texture is better.
    """
    return _share(found, "texture_accuracy", _cues(found)[1], better="lower")


def error_consistency(found: CueAnswers, observers: Sequence[CueAnswers]) -> Measurement:
    """Measure Cohen's kappa between who is right about shape where, as ``shape_bias.error_consistency_<decision>``.

    ``(observed - expected) / (1 - expected)`` agreement on right and wrong, where two that err independently would
    agree ``p q + (1 - p)(1 - q)`` of the time; averaged over `observers` (Geirhos et al. 2020). Images are
    matched by name, those without a conflict included, as in the published numbers. The interval resamples images.

    Raises:
        MeasurementError: there is no observer, one has seen none of the images, or agreement by chance is total.
    """
    if not observers:
        raise MeasurementError(f"error consistency on {found.dataset!r}: no observers to be consistent with")
    right = found.answers == found.shapes
    kappas, lows, highs = [], [], []
    for other in observers:
        theirs = _by_stem(other.samples, other.answers == other.shapes)
        both = [(ok, theirs[stem]) for stem, ok in _by_stem(found.samples, right).items() if stem in theirs]
        if not both:
            raise MeasurementError(
                f"error consistency on {found.dataset!r}: {other.dataset!r} has seen none of its images; "
                f"{found.samples[0]!r} here, {other.samples[0]!r} there"
            )
        pairs = np.array(both)
        kappa = float(_kappa(np.ones((1, len(pairs)), np.int64), pairs)[0])
        if np.isnan(kappa):
            raise MeasurementError(
                f"error consistency on {found.dataset!r} with {other.dataset!r}: both are right, or wrong, about all "
                f"{len(pairs)} images, so that agreement says nothing"
            )
        interval = bootstrap_rows(pairs, _kappa)
        kappas.append(kappa)
        lows.append(interval.low)
        highs.append(interval.high)
    interval = Interval(float(np.mean(lows)), float(np.mean(highs)), 0.95, "bootstrap, mean over observers")
    return _of_all(
        found,
        "error_consistency",
        float(np.mean(kappas)),
        interval,
        evidence=_consistency_evidence(found, observers),
        details={"observers": len(observers), "lowest": min(kappas), "highest": max(kappas)},
        n=len(found.samples),
    )


PROPERTIES = {
    "ratio": shape_bias,
    "class_average": class_average,
    "cue_coverage": cue_coverage,
    "shape_accuracy": shape_accuracy,
    "texture_accuracy": texture_accuracy,
}
"""What is measured of answers alone, by the first part of the metric's id, ``shape_bias.<name>_<decision>``."""


def _ratio_evidence(found: CueAnswers, *, by_class: bool = False) -> Evidence:
    """Return the evidence of the ratio over all conflicting images, whichever of them a model names by a cue."""
    shape, texture = _cues(found)
    conflicting = found.conflicting
    classes = len(found.class_names) if by_class else 1
    columns = {"shape": shape[conflicting], "texture": texture[conflicting]}
    if by_class:
        columns["class"] = found.shapes[conflicting].astype(np.int32)

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        cell = columns.get("class")
        return [Term(columns[name], cell, classes) for name in ("shape", "texture")]

    def statistic(sums: Sequence[Sums]) -> Floats:
        of_shape, of_texture = sums[0]
        decided = of_shape + of_texture
        ratios = np.divide(of_shape, decided, out=np.zeros_like(of_shape), where=decided > 0)
        with np.errstate(invalid="ignore"):
            mean: Floats = ratios.sum(axis=1) / (decided > 0).sum(axis=1)
        return mean

    return sums_evidence([Stratum(name=found.dataset, columns=columns)], terms, statistic)


def _consistency_evidence(found: CueAnswers, observers: Sequence[CueAnswers]) -> Evidence:
    """Return the evidence of the mean kappa: own answers, and each observer's with a mark where there is one."""
    stems = [PurePath(sample).stem for sample in found.samples]
    columns = {"outcome": found.answers == found.shapes}
    for i, other in enumerate(observers):
        theirs = _by_stem(other.samples, other.answers == other.shapes)
        columns[f"seen.{i}"] = np.array([stem in theirs for stem in stems])
        columns[f"right.{i}"] = np.array([theirs.get(stem, False) for stem in stems])

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        own, every = columns["outcome"], []
        for i in range(len(observers)):
            seen, right = columns[f"seen.{i}"], columns[f"right.{i}"]
            every += [Term(seen), Term(seen & (own == right)), Term(seen & own), Term(seen & right)]
        return every

    def statistic(sums: Sequence[Sums]) -> Floats:
        n, agreeing, own, theirs = (np.hstack(sums[0][i::4]) for i in range(4))
        with np.errstate(invalid="ignore"):
            kappa: Floats = _kappa_of_shares(agreeing / n, own / n, theirs / n).mean(axis=1)
        return kappa

    return sums_evidence([Stratum(name=found.dataset, columns=columns)], terms, statistic)


def _by_stem(samples: Sequence[str], right: NDArray[np.bool_]) -> dict[str, bool]:
    """Key outcomes by file names without their endings, which differ between copies of the set."""
    return {PurePath(sample).stem: bool(ok) for sample, ok in zip(samples, right, strict=True)}


def _kappa(counts: NDArray[np.int64], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    one, other = rows[:, 0], rows[:, 1]
    n = counts.sum(axis=1)
    return _kappa_of_shares(counts @ (one == other) / n, counts @ one / n, counts @ other / n)


def _kappa_of_shares(observed: Floats, p: Floats, q: Floats) -> Floats:
    """Return kappa from the shares of agreement and of either's right answers, NaN where chance agrees on all."""
    expected = p * q + (1 - p) * (1 - q)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _cues(found: CueAnswers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    conflict = found.conflicting
    return conflict & (found.answers == found.shapes), conflict & (found.answers == found.textures)


def _coverage(found: CueAnswers) -> float:
    shape, texture = _cues(found)
    return float((shape | texture)[found.conflicting].mean())


def _check_decided(found: CueAnswers, decided: NDArray[np.bool_]) -> None:
    if not decided.any():
        raise MeasurementError(
            f"{found.dataset!r}: none of {int(found.conflicting.sum())} answers names the shape or the texture, "
            "so there is no bias to measure"
        )


def _per_class(found: CueAnswers) -> dict[str, tuple[float, int]]:
    """Return ratio and number of decisions of every shape class that has any."""
    shape, texture = _cues(found)
    ratios = {}
    for position, name in enumerate(found.class_names):
        n = int(((shape | texture) & (found.shapes == position)).sum())
        if n:
            ratios[name] = (float(shape[found.shapes == position].sum() / n), n)
    return ratios


def _share(found: CueAnswers, name: str, named: NDArray[np.bool_], *, better: str = "higher") -> Measurement:
    outcomes = named[found.conflicting]
    return Measurement(
        metric=f"shape_bias.{name}_{found.decision}",
        value=float(outcomes.mean()),
        n=len(outcomes),
        interval=wilson(int(outcomes.sum()), len(outcomes)),
        direction="lower" if better == "lower" else "higher",
        dataset=found.dataset,
        outcomes=outcomes.astype(np.float32),
        samples=[found.samples[i] for i in np.flatnonzero(found.conflicting).tolist()],
        provenance=found.provenance,
    )


def _of_all(
    found: CueAnswers,
    name: str,
    value: float,
    interval: Interval,
    *,
    evidence: Evidence,
    details: Mapping[str, float],
    n: int | None = None,
) -> Measurement:
    return Measurement(
        metric=f"shape_bias.{name}_{found.decision}",
        value=value,
        n=int(found.conflicting.sum()) if n is None else n,
        interval=interval,
        direction="higher",
        dataset=found.dataset,
        evidence=evidence,
        details=details,
        provenance=found.provenance,
    )
