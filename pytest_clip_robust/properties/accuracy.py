"""Zero-shot accuracy: top-k, and the mean over classes."""

from __future__ import annotations

import numpy as np

from pytest_clip_robust.core.evidence import mean_evidence
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.stats.intervals import wilson, wilson_of_mean


def top_k(source: Predictions | Decisions, *, k: int = 1) -> Measurement:
    """Measure the share of samples whose true class is among the `k` highest logits, as ``zero_shot.top<k>``.

    The interval is Wilson's. Equal logits rank by class index.

    Raises:
        MeasurementError: `k` is not in ``1..C-1``.
    """
    return accuracy_of(decide(source, k=k), metric=f"zero_shot.top{k}")


def mean_per_class(source: Predictions | Decisions) -> Measurement:
    """Measure the unweighted mean of the classes' top-1 accuracies, as ``zero_shot.mean_per_class``.

    Classes without a sample are left out. The interval is Wilson's at the effective size ``C^2 / sum(1 / n_c)``, which
    is the number of samples that a plain proportion of the same variance would have if all classes were equally
    hard; classes that differ vary less within, so the interval errs on the wide side.
    """
    decisions = decide(source)
    _, class_of, sizes = np.unique(decisions.labels, return_inverse=True, return_counts=True)
    per_class = np.bincount(class_of, weights=decisions.correct) / sizes
    value = float(per_class.mean())
    return Measurement(
        metric="zero_shot.mean_per_class",
        value=value,
        n=len(decisions),
        interval=wilson_of_mean(value, len(sizes) ** 2 / (1 / sizes).sum()),
        direction="higher",
        dataset=decisions.dataset,
        evidence=mean_evidence(decisions.dataset, decisions.correct * (len(decisions) / len(sizes) / sizes)[class_of]),
        misses=decisions.misses,
        details={"classes": len(sizes), "worst_class": float(per_class.min())},
        provenance=decisions.provenance,
    )


def accuracy_of(decisions: Decisions, *, metric: str, subset: str = "") -> Measurement:
    """Measure the share of right answers under the name `metric`, with Wilson's interval."""
    return Measurement(
        metric=metric,
        value=decisions.accuracy,
        n=len(decisions),
        interval=wilson(int(decisions.correct.sum()), len(decisions)),
        direction="higher",
        dataset=decisions.dataset,
        subset=subset,
        outcomes=decisions.correct.astype(np.float32),
        samples=decisions.samples,
        evidence=decisions.evidence,
        misses=decisions.misses,
        provenance=decisions.provenance,
    )
