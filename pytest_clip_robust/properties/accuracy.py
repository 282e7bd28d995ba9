"""Zero-shot accuracy: top-k, and the mean over classes."""

from __future__ import annotations

import numpy as np

from pytest_clip_robust.core.evidence import mean_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.stats.intervals import wilson, wilson_of_mean

TOP_1 = Metric("zero_shot.top1", direction="higher", tolerance=0.01, headline=True)
TOP_K = Metric("zero_shot.top{k}", direction="higher", tolerance=0.01, headline=False)
MEAN_PER_CLASS = Metric("zero_shot.mean_per_class", direction="higher", tolerance=0.01, headline=False)


def top_k(source: Predictions | Decisions, *, k: int = 1) -> Measurement:
    """Measure the share of samples whose true class is among the `k` highest logits, as ``zero_shot.top<k>``.

    The interval is Wilson's. Equal logits rank by class index.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``.
    """
    return accuracy_of(decide(source, k=k), TOP_1 if k == 1 else TOP_K.named(k=k), k=k)


def mean_per_class(source: Predictions | Decisions) -> Measurement:
    """Measure the unweighted mean of the classes' top-1 accuracies, as ``zero_shot.mean_per_class``.

    Classes without a sample are left out. The interval is Wilson's at the effective size ``C^2 / sum(1 / n_c)``, the
    number of samples at which a plain proportion would have the same variance if all classes were equally hard. Classes
    that differ vary less within, so the interval is rather too wide.
    """
    return mean_over_classes(decide(source), MEAN_PER_CLASS)


def mean_over_classes(decisions: Decisions, metric: Metric, *, subset: str = "") -> Measurement:
    """Measure the unweighted mean of the classes' accuracies as `metric`; see `mean_per_class`."""
    _, class_of, sizes = np.unique(decisions.labels, return_inverse=True, return_counts=True)
    per_class = np.bincount(class_of, weights=decisions.correct) / sizes
    value = float(per_class.mean())
    return Measurement.of(
        decisions,
        metric,
        value,
        wilson_of_mean(value, len(sizes) ** 2 / (1 / sizes).sum()),
        subset=subset,
        evidence=mean_evidence(decisions.dataset, decisions.correct * (len(decisions) / len(sizes) / sizes)[class_of]),
        misses=decisions.misses,
        details={"classes": len(sizes), "worst_class": float(per_class.min())},
        chance=chance_of(decisions),
    )


def accuracy_of(decisions: Decisions, metric: Metric, *, subset: str = "", k: int = 1) -> Measurement:
    """Measure the share of correct answers as `metric`, with Wilson's interval; `k` answers per sample were allowed."""
    return Measurement.of(
        decisions,
        metric,
        decisions.accuracy,
        wilson(int(decisions.correct.sum()), len(decisions)),
        subset=subset,
        outcomes=decisions.correct,
        samples=decisions.samples,
        evidence=decisions.evidence,
        misses=decisions.misses,
        chance=chance_of(decisions, k=k),
    )


def chance_of(decisions: Decisions, *, k: int = 1) -> float | None:
    """Return the accuracy of `k` guesses, ``k / C`` of the C classes to choose from; None if those are not known."""
    return k / len(decisions.class_names) if decisions.class_names else None
