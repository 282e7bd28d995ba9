"""Shape bias: whether a model names the shape or the texture of images in which the two belong to different classes.

After Geirhos et al. (2019). The ratio counts only answers that name one of the two, so it is unstable if few do; cue
coverage is their share. How an answer was reached is part of every metric's id: ``direct`` among the set's own classes,
``imagenet_mean`` among ImageNet's 1,000, each of the 16 classes with the mean of its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.cues import NO_ANSWER, CueAnswers
from pytest_clip_robust.stats.intervals import wilson, wilson_of_mean
from pytest_clip_robust.stats.resampling import interval_of

RATIO = Metric("shape_bias.ratio_{decision}", direction="higher", tolerance=0.02, headline=True)
CLASS_AVERAGE = Metric("shape_bias.class_average_{decision}", direction="higher", tolerance=0.02, headline=False)
CUE_COVERAGE = Metric("shape_bias.cue_coverage_{decision}", direction="higher", tolerance=0.01, headline=False)
SHAPE_ACCURACY = Metric("shape_bias.shape_accuracy_{decision}", direction="higher", tolerance=0.01, headline=False)
TEXTURE_ACCURACY = Metric("shape_bias.texture_accuracy_{decision}", direction="lower", tolerance=0.01, headline=False)
CONSISTENCY = Metric("shape_bias.error_consistency_{decision}", direction="higher", tolerance=0.02, headline=False)


def shape_bias(found: CueAnswers) -> Measurement:
    """Measure ``shape / (shape + texture)`` over answers that name either, as ``shape_bias.ratio_<decision>``.

    `details` has both counts, cue coverage, and the ratio of each shape class that has one. Among ImageNet's classes it
    is a detail, among the set's own a headline.

    Raises:
        MeasurementError: no answer names the shape or the texture.
    """
    shape, texture = _cues(found)
    decided = shape | texture
    _check_decided(found, decided)
    n_shape, n = int(shape.sum()), int(decided.sum())
    metric = _named(RATIO, found)
    return Measurement.of(
        found,
        metric if found.decision == "direct" else metric.as_detail(),
        n_shape / n,
        wilson(n_shape, n),
        n=n,
        evidence=_ratio_evidence(found),
        details={"shape_decisions": n_shape, "texture_decisions": n - n_shape, "cue_coverage": _coverage(found)}
        | {f"ratio.{name}": ratio for name, (ratio, _) in _per_class(found).items()},
    )


def class_average(found: CueAnswers) -> Measurement:
    """Measure the unweighted mean of the shape classes' ratios, as ``shape_bias.class_average_<decision>``.

    Classes whose images were never named by shape or texture are left out; `details` counts the others.

    Raises:
        MeasurementError: as for `shape_bias`.
    """
    shape, texture = _cues(found)
    _check_decided(found, shape | texture)
    ratios = _per_class(found)
    value = float(np.mean([ratio for ratio, _ in ratios.values()]))
    sizes = np.array([n for _, n in ratios.values()])
    return Measurement.of(
        found,
        _named(CLASS_AVERAGE, found),
        value,
        wilson_of_mean(value, len(sizes) ** 2 / (1 / sizes).sum()),
        n=int(found.conflicting.sum()),
        evidence=_ratio_evidence(found, by_class=True),
        details={"classes": len(ratios), "lowest": min(ratio for ratio, _ in ratios.values())},
    )


def cue_coverage(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the shape or the texture, as ``shape_bias.cue_coverage_<decision>``."""
    shape, texture = _cues(found)
    return _share(found, CUE_COVERAGE, shape | texture, chance=_chance(found, classes=2))


def shape_accuracy(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the shape, as ``shape_bias.shape_accuracy_<decision>``."""
    return _share(found, SHAPE_ACCURACY, _cues(found)[0], chance=_chance(found, classes=1))


def texture_accuracy(found: CueAnswers) -> Measurement:
    """Measure the share of answers that name the texture, as ``shape_bias.texture_accuracy_<decision>``.

    Its direction follows shape bias: less texture is better. It has no `chance`: more answers than by guessing are a
    preference for texture, and no lack of skill.
    """
    return _share(found, TEXTURE_ACCURACY, _cues(found)[1])


def error_consistency(found: CueAnswers, observers: Sequence[CueAnswers]) -> Measurement:
    """Measure Cohen's kappa of trial-by-trial correctness, as ``shape_bias.error_consistency_<decision>``.

    ``(observed - expected) / (1 - expected)`` agreement on correct and wrong shape answers, where two observers that
    err independently agree ``p q + (1 - p)(1 - q)`` of the time; averaged over `observers` (Geirhos et al. 2020).
    Images are matched by name and include those without a conflict, as in the published numbers. The interval resamples
    images. Errors that are independent of the observers' have a kappa of 0.

    Raises:
        MeasurementError: no observer is given, an observer has seen none of the images, or both are correct, or wrong,
            on all of them.
    """
    if not observers:
        raise MeasurementError(f"error consistency on {found.dataset!r}: no observers to compare with")
    kappas = [_kappa_with(found, other) for other in observers]
    evidence = _consistency_evidence(found, observers)
    return Measurement.of(
        found,
        _named(CONSISTENCY, found),
        float(np.mean(kappas)),
        interval_of(evidence),
        evidence=evidence,
        details={"observers": len(observers), "lowest": min(kappas), "highest": max(kappas)},
        chance=0.0,
    )


PROPERTIES = {
    "ratio": shape_bias,
    "class_average": class_average,
    "cue_coverage": cue_coverage,
    "shape_accuracy": shape_accuracy,
    "texture_accuracy": texture_accuracy,
}
"""What is measured of answers alone, by name, as ``shape_bias.<name>_<decision>``."""


def ratio_evidence(stratum: Stratum) -> Evidence:
    """Return the evidence of the ratio from stored outcomes: columns ``shape`` and ``texture`` (N,), true or false."""

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns[name]) for name in ("shape", "texture")]

    return sums_evidence([stratum], terms, _mean_ratio)


def _ratio_evidence(found: CueAnswers, *, by_class: bool = False) -> Evidence:
    """Return the evidence of the ratio over all conflicting images; which of them count depends on the answers."""
    shape, texture = _cues(found)
    conflicting = found.conflicting
    classes = len(found.class_names) if by_class else 1
    columns = {"shape": shape[conflicting], "texture": texture[conflicting]}
    if by_class:
        columns["class"] = found.shapes[conflicting].astype(np.int32)

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        cell = columns.get("class")
        return [Term(columns[name], cell, classes) for name in ("shape", "texture")]

    return sums_evidence([Stratum(name=found.dataset, columns=columns)], terms, _mean_ratio)


def _mean_ratio(sums: Sequence[Sums]) -> Floats:
    """Return (B,) means over classes of ``shape / (shape + texture)``, of classes with an answer that names either."""
    of_shape, of_texture = sums[0]
    decided = of_shape + of_texture
    ratios = np.divide(of_shape, decided, out=np.zeros_like(of_shape), where=decided > 0)
    with np.errstate(invalid="ignore"):
        mean: Floats = ratios.sum(axis=1) / (decided > 0).sum(axis=1)
    return mean


def _consistency_evidence(found: CueAnswers, observers: Sequence[CueAnswers]) -> Evidence:
    """Return the evidence of the mean kappa: own correctness, and each observer's on the images that it has seen."""
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
    """Return outcomes by file name without suffix, as suffixes differ between copies of the set."""
    return {PurePath(sample).stem: bool(ok) for sample, ok in zip(samples, right, strict=True)}


def _kappa_with(found: CueAnswers, other: CueAnswers) -> float:
    own, theirs = (_by_stem(one.samples, one.answers == one.shapes) for one in (found, other))
    pairs = np.array([(correct, theirs[stem]) for stem, correct in own.items() if stem in theirs])
    if not len(pairs):
        raise MeasurementError(
            f"error consistency on {found.dataset!r}: {other.dataset!r} has seen none of its images; "
            f"{found.samples[0]!r} here, {other.samples[0]!r} there"
        )
    first, second = pairs.T
    kappa = float(_kappa_of_shares((first == second).mean(), first.mean(), second.mean()))
    if np.isnan(kappa):
        raise MeasurementError(
            f"error consistency on {found.dataset!r} with {other.dataset!r}: both are correct, or wrong, on all "
            f"{len(pairs)} images, so that their agreement is no evidence"
        )
    return kappa


def _kappa_of_shares(observed: ArrayLike, p: ArrayLike, q: ArrayLike) -> Floats:
    """Return kappa from the shares of agreement and of each one's correct answers, NaN where all agree by chance."""
    observed, p, q = (np.asarray(share, np.float64) for share in (observed, p, q))
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
    """Return ratio and number of decisions of every shape class with a decision."""
    shape, texture = _cues(found)
    ratios = {}
    for position, name in enumerate(found.class_names):
        n = int(((shape | texture) & (found.shapes == position)).sum())
        if n:
            ratios[name] = (float(shape[found.shapes == position].sum() / n), n)
    return ratios


def _chance(found: CueAnswers, *, classes: int) -> float | None:
    """Return how often a guess names one of `classes`; None if it is not known what answers were chosen from."""
    if found.choices is None and (found.answers == NO_ANSWER).any():
        return None
    return classes / (found.choices or len(found.class_names))


def _share(found: CueAnswers, metric: Metric, named: NDArray[np.bool_], *, chance: float | None = None) -> Measurement:
    outcomes = named[found.conflicting]
    return Measurement.of(
        found,
        _named(metric, found),
        float(outcomes.mean()),
        wilson(int(outcomes.sum()), len(outcomes)),
        n=len(outcomes),
        outcomes=outcomes,
        samples=[found.samples[i] for i in np.flatnonzero(found.conflicting).tolist()],
        chance=chance,
    )


def _named(metric: Metric, found: CueAnswers) -> Metric:
    return metric.named(decision=found.decision)
