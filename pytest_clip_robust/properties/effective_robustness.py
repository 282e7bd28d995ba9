"""Effective robustness: accuracy under shift beyond that of published models that are as accurate in distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.evidence import Sums
from pytest_clip_robust.core.measurement import Measurement, Metric, Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.reference_panels.lines import CLASSES, ID_SET, PanelLine
from pytest_clip_robust.properties.shift import evidence_of_both, inside, on_the_shifts_classes
from pytest_clip_robust.scoring.decisions import decide
from pytest_clip_robust.stats.intervals import LEVEL
from pytest_clip_robust.stats.resampling import percentile_interval, resample

EFFECTIVE = Metric("shift.effective_robustness_{panel}", direction="higher", tolerance=1.0, headline=False)


def above_published(in_distribution: Predictions, shifted: Predictions, published: PanelLine) -> Measurement:
    """Measure effective robustness against a shipped panel in points, as ``shift.effective_robustness_<panel>``.

    The value is the accuracy on the shifted set (0-100) minus that of the panel's line at the model's ID accuracy
    (Taori et al. 2020, section 3). The ID accuracy is over the classes of the shifted set if that of the panel is
    (`published.same_classes`), and over all classes otherwise; 0 and 1 are moved inside by half a sample.

    The interval resamples the images of both sets and the models of the panel. A paired comparison of two models takes
    the line as exact, as it is the same for both.

    Raises:
        MeasurementError: a set has another number of classes than the published results are over, or the shifted set
            has a class that the ID set lacks.
    """
    for found, name in ((in_distribution, ID_SET), (shifted, published.published_as)):
        if len(found.class_ids) != CLASSES[name]:
            raise MeasurementError(
                f"{found.dataset!r} has {len(found.class_ids)} classes, but results published as {name!r} are over "
                f"{CLASSES[name]}; correct its classes, or remove published_as"
            )
    sliced = published.same_classes and set(shifted.class_ids) != set(in_distribution.class_ids)
    base = decide(on_the_shifts_classes(in_distribution, shifted) if sliced else in_distribution)
    moved = decide(shifted)

    def residual(base_accuracy: Floats, moved_accuracy: Floats) -> Floats:
        return published.line.residual(inside(base_accuracy, len(base)), moved_accuracy)

    evidence = evidence_of_both(base, moved, residual)
    drawn = resample(replace(evidence, statistic=_accuracies), replicates=len(published.resampled.slopes))[0][1:]
    expected = published.resampled.predict(inside(drawn[:, 0], len(base)))
    x = float(inside(base.accuracy, len(base)))
    residuals = published.line.residual(published.x, published.y)
    value = float(residual(np.array(base.accuracy), np.array(moved.accuracy)))
    return Measurement.of(
        moved,
        EFFECTIVE.named(panel=published.panel),
        value,
        percentile_interval(100 * (drawn[:, 1] - expected), level=LEVEL),
        evidence=evidence,
        misses=moved.misses,
        details={
            "id_accuracy": base.accuracy,
            "shifted_accuracy": moved.accuracy,
            "expected_accuracy": float(published.line.predict(x)),
            "panel_models": len(published.models),
            "panel_share_below": float((residuals < value).mean()),
            "panel_median_distance": float(np.median(np.abs(residuals))),
        },
        remark=_outside(x, published),
        provenance=_provenance(in_distribution, shifted, published),
    )


def _accuracies(sums: Sequence[Sums]) -> Floats:
    """Return (1 + B, 2) accuracies, in distribution and shifted."""
    return np.stack([(right / n)[:, 0] for right, n in sums], axis=1)


def _outside(x: float, published: PanelLine) -> str:
    low, high = float(published.x.min()), float(published.x.max())
    if low <= x <= high:
        return ""
    return f"extrapolated: the ID accuracy {x:.3f} is outside the panel's, {low:.3f} to {high:.3f}"


def _provenance(in_distribution: Predictions, shifted: Predictions, published: PanelLine) -> Provenance:
    both = shifted.provenance.merged_with(in_distribution.provenance)
    return replace(both, data=combine_digests(both.data, published.digest))
