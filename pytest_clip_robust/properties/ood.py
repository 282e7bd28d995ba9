"""OOD detection: how well a score separates in-distribution (ID) samples from out-of-distribution (OOD) ones.

FPR95 and AUPR depend on a convention, which is in their names: ``_id`` and ``_in`` take ID as the positive class (the
share of OOD samples accepted at the threshold that accepts 95 % of ID samples), ``_ood`` and ``_out`` take OOD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, auroc_evidence, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.stats import roc

Cells = NDArray[np.uint8]

POINTS = 100
"""The most points of a plotted ROC curve."""

BARS = 24
"""The bins of plotted scores."""

CELLS = 256
"""Evidence stores each score as the number of its cell, one byte each."""

ID = "id"
"""The name of the stratum of ID samples in a mean over several OOD sets."""


METRICS: Mapping[str, Metric] = {
    "auroc": Metric("ood.{prefix}auroc_{score}", direction="higher", tolerance=0.01, headline=False),
    "fpr95_id": Metric("ood.{prefix}fpr95_id_{score}", direction="lower", tolerance=0.02, headline=False),
    "fpr95_ood": Metric("ood.{prefix}fpr95_ood_{score}", direction="lower", tolerance=0.02, headline=False),
    "aupr_in": Metric("ood.{prefix}aupr_in_{score}", direction="higher", tolerance=0.01, headline=False),
    "aupr_out": Metric("ood.{prefix}aupr_out_{score}", direction="higher", tolerance=0.01, headline=False),
}
"""Every metric by name, as ``ood.<metric>_<score>``; means over classes and over sets put a prefix before the name."""

HEADLINE = ("auroc", "mcm")
"""The metric and the score of the study; the others are details."""

STATISTICS: Mapping[str, roc.RocStatistic] = {
    "auroc": roc.auroc,
    "fpr95_id": roc.false_positive_rate,
    "fpr95_ood": lambda inside, outside: roc.false_positive_rate(outside[..., ::-1], inside[..., ::-1]),
    "aupr_in": roc.average_precision,
    "aupr_out": lambda inside, outside: roc.average_precision(outside[..., ::-1], inside[..., ::-1]),
}


def measure(inside: Scores, outside: Scores, metric: str) -> Measurement:
    """Measure one of METRICS between the ID set and an OOD set, as ``ood.<metric>_<score>``.

    The interval of AUROC is DeLong's; those of the others are from a stratified bootstrap. `plot` has the ROC curve:
    ``false_positive_rate`` (OOD accepted) and ``true_positive_rate`` (ID accepted); and histograms of the scores: for
    each bin from ``low`` to ``high``, the shares of ID (``inside``) and OOD samples (``outside``) in it.

    Raises:
        MeasurementError: the metric is unknown, or the two sets were scored differently.
    """
    _comparable(inside, outside, metric)
    counted = roc.tally(inside.values, outside.values)
    value = float(STATISTICS[metric](counted.positives, counted.negatives))
    declared = METRICS[metric].named(prefix="", score=inside.score)
    if metric == "auroc":
        interval = roc.auroc_interval(counted)
        evidence = auroc_evidence(inside.dataset, inside.values, outside.dataset, outside.values, plot=_plot_of_scores)
    else:
        cells = roc.coarse_tallies(inside.values, [outside.values])
        interval = roc.bootstrap_interval(STATISTICS[metric], cells, value=value)
        evidence = _evidence(inside, outside, STATISTICS[metric])
    plot = _curve(counted) | _histograms(inside.values, outside.values) if metric == "auroc" else None
    if (metric, inside.score) == HEADLINE:
        declared = replace(declared, headline=True)
    chance = chance_of(metric, len(inside), len(outside))
    return _measurement(inside, outside, declared, value, interval, evidence=evidence, chance=chance, plot=plot)


def chance_of(metric: str, id_n: int, ood_n: int) -> float:
    """Return the expected value of one of METRICS for scores that know nothing of the sets, without ties.

    With P samples of the positive class among N, FPR95 is the place of an order statistic, ``ceil(0.95 P) / (P + 1)``,
    and average precision is ``h + (1 - h) (P - 1) / (N - 1)`` with ``h = (1 + 1/2 + ... + 1/N) / N`` (Bestgen 2015).
    They approach 0.95 and P / N.

    >>> chance_of("aupr_in", 1, 1), chance_of("fpr95_ood", 500, 199)
    (0.75, 0.95)
    """
    if metric == "auroc":
        return 0.5
    positives, total = id_n if metric in {"fpr95_id", "aupr_in"} else ood_n, id_n + ood_n
    if metric.startswith("fpr95"):
        return math.ceil(0.95 * positives - 1e-9) / (positives + 1)
    top = float(digamma(total + 1) - digamma(1)) / total
    return top + (1 - top) * (positives - 1) / (total - 1)


def class_mean(inside: Scores, outside: Scores, metric: str) -> Measurement:
    """Measure the unweighted mean of a metric over the OOD set's classes, as ``ood.class_mean_<metric>_<score>``.

    This is NINCO's main metric (Bitterwolf et al. 2023): every class counts equally. `details` has the
    worst class's value and how many classes there are.

    Raises:
        MeasurementError: as for `measure`, or the classes of the OOD set are not known.
    """
    _comparable(inside, outside, metric)
    if outside.classes is None:
        raise MeasurementError(f"{outside.dataset!r} has no classes to take a mean over")
    groups = [outside.values[outside.classes == one] for one in np.unique(outside.classes)]
    tallies = [roc.tally(inside.values, group) for group in groups]
    values = [float(STATISTICS[metric](counted.positives, counted.negatives)) for counted in tallies]
    cells = roc.coarse_tallies(inside.values, groups)
    value = float(np.mean(values))
    worst = min if METRICS[metric].direction == "higher" else max
    return _measurement(
        inside,
        outside,
        METRICS[metric].named(prefix="class_mean_", score=inside.score),
        value,
        roc.bootstrap_interval(STATISTICS[metric], cells, value=value, replicates=500),
        evidence=_class_mean_evidence(inside, outside, metric),
        chance=float(np.mean([chance_of(metric, len(inside), len(group)) for group in groups])),
        details={"classes": len(groups), "worst_class": worst(values)},
    )


def group_mean(measurements: Sequence[Measurement], group: str) -> Measurement:
    """Measure the unweighted mean of one metric over the OOD sets of `group` (near, far, all), as ``ood.mean_<...>``.

    The interval is the mean of the sets' intervals: exact if their errors are fully correlated, as they share their ID
    samples, and too wide otherwise. `details` has each set's value.

    Raises:
        MeasurementError: no measurement is given, or they are of several metrics.
    """
    metrics = sorted({one.metric for one in measurements})
    if len(metrics) != 1:
        raise MeasurementError(f"OOD group {group!r}: a mean over {metrics or 'no sets'}; expected one metric")
    first = measurements[0]
    low, high = (float(np.mean([getattr(one.interval, end) for one in measurements])) for end in ("low", "high"))
    chances = [one.chance for one in measurements if one.chance is not None]
    return Measurement(
        metric=f"ood.mean_{first.metric.removeprefix('ood.')}",
        value=float(np.mean([one.value for one in measurements])),
        n=sum(one.n for one in measurements),
        interval=Interval(low, high, first.interval.level, "mean of the sets' intervals"),
        direction=first.direction,
        tolerance=first.tolerance,
        headline=False,
        dataset=group,
        evidence=_group_evidence(measurements),
        details={one.dataset: one.value for one in measurements},
        chance=float(np.mean(chances)) if len(chances) == len(measurements) else None,
        provenance=first.provenance.merged_with(*(one.provenance for one in measurements[1:])),
    )


def _comparable(inside: Scores, outside: Scores, metric: str) -> None:
    if metric not in METRICS:
        raise MeasurementError(f"no OOD metric {metric!r}{did_you_mean(metric, METRICS)}; it is one of {list(METRICS)}")
    if inside.score != outside.score:
        raise MeasurementError(
            f"{inside.dataset!r} has the score {inside.score!r}, {outside.dataset!r} {outside.score!r}; "
            "they cannot be compared"
        )


def _measurement(
    inside: Scores,
    outside: Scores,
    metric: Metric,
    value: float,
    interval: Interval,
    *,
    evidence: Evidence | None,
    chance: float,
    details: Mapping[str, float] | None = None,
    plot: Mapping[str, Floats] | None = None,
) -> Measurement:
    sizes = {"id_n": len(inside), "ood_n": len(outside)}
    if inside.fitted_on:
        sizes["fitted_on"] = inside.fitted_on
    return Measurement.of(
        outside,
        metric,
        value,
        interval,
        n=len(inside) + len(outside),
        evidence=evidence,
        details=sizes | dict(details or {}),
        plot=plot,
        chance=chance,
    )


def _evidence(
    inside: Scores, outside: Scores, statistic: roc.RocStatistic, *, weights: Floats | None = None
) -> Evidence:
    """Return the evidence of a statistic of two sets' scores, each stored as the number of its cell.

    `weights` (Q,) are those of the OOD samples, which belong to the data.
    """
    of_inside, of_outside = _cells(inside.values, outside.values)
    strata = [
        Stratum(name=inside.dataset, columns={"cell": of_inside}),
        Stratum(name=outside.dataset, columns={"cell": of_outside}),
    ]
    if weights is not None:
        strata[1] = replace(strata[1], columns={**strata[1].columns, "weight": weights.astype(np.float32)})

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns.get("weight"), columns["cell"].astype(np.int64), CELLS)]

    return sums_evidence(strata, terms, lambda sums: statistic(sums[0][0][:, ::-1], sums[1][0][:, ::-1]))


def _class_mean_evidence(inside: Scores, outside: Scores, metric: str) -> Evidence | None:
    """Return the evidence of a mean over OOD classes, as a mean over OOD samples that share the weight of their class.

    Statistics with OOD as the positive class are not means over OOD samples, so they have no evidence.
    """
    if metric not in {"auroc", "fpr95_id"} or outside.classes is None:
        return None
    _, place, sizes = np.unique(outside.classes, return_inverse=True, return_counts=True)
    return _evidence(inside, outside, STATISTICS[metric], weights=(len(outside) / len(sizes) / sizes)[place])


def _group_evidence(measurements: Sequence[Measurement]) -> Evidence | None:
    """Return the joint evidence of several OOD sets; their ID samples are the same and have one column per set."""
    metric = measurements[0].metric.removeprefix("ood.")
    statistic = next((one for name, one in STATISTICS.items() if metric.startswith(f"{name}_")), None)
    if statistic is None:
        return None
    pairs = [_cells_of(one.evidence) for one in measurements if one.evidence is not None]
    inside = {f"cell.{i}": of_inside for i, (of_inside, _) in enumerate(pairs)}
    strata = [Stratum(name=ID, columns=inside)] + [
        Stratum(name=one.dataset, columns={"cell": of_outside})
        for one, (_, of_outside) in zip(measurements, pairs, strict=True)
    ]

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(None, cell.astype(np.int64), CELLS) for cell in columns.values()]

    def mean(sums: Sequence[Sums]) -> Floats:
        values = [statistic(one[:, ::-1], other[0][:, ::-1]) for one, other in zip(sums[0], sums[1:], strict=True)]
        average: Floats = np.mean(values, axis=0)
        return average

    return sums_evidence(strata, terms, mean)


def _cells_of(evidence: Evidence) -> tuple[Cells, Cells]:
    inside, outside = (stratum.columns for stratum in evidence.strata)
    return _cells(inside["score"], outside["score"]) if "score" in inside else (inside["cell"], outside["cell"])


def _cells(inside: Floats, outside: Floats) -> tuple[Cells, Cells]:
    """Return the cell of each score, of at most 256 with about equal counts; cell 0 has the lowest scores."""
    of_inside, of_outside = (cell.astype(np.uint8) for cell in roc.cells_of([inside, outside], cells=CELLS))
    return of_inside, of_outside


def _plot_of_scores(strata: Sequence[Mapping[str, Column]]) -> dict[str, Floats]:
    inside, outside = (columns["score"].astype(np.float64) for columns in strata)
    return _curve(roc.tally(inside, outside)) | _histograms(inside, outside)


def _histograms(inside: Floats, outside: Floats) -> dict[str, Floats]:
    """Return the share of each set's scores in 24 bins of equal width, which span all scores."""
    edges = np.histogram_bin_edges(np.concatenate([inside, outside]), BARS)
    shares = {name: np.histogram(one, edges)[0] / len(one) for name, one in (("inside", inside), ("outside", outside))}
    return {"low": edges[:-1], "high": edges[1:], **shares}


def _curve(counted: roc.Tally) -> dict[str, Floats]:
    """Return at most 100 points of the ROC curve, in about equal steps along it."""
    true = np.append(0, np.cumsum(counted.positives)) / counted.positives.sum()
    false = np.append(0, np.cumsum(counted.negatives)) / counted.negatives.sum()
    if len(true) <= POINTS:
        return {"false_positive_rate": false, "true_positive_rate": true}
    steps = np.linspace(0, 2, POINTS)
    kept = np.unique(np.searchsorted(true + false, steps - 1e-12).clip(0, len(true) - 1))
    return {"false_positive_rate": false[kept], "true_positive_rate": true[kept]}
