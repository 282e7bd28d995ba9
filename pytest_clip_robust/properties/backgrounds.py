"""Reliance on backgrounds, after CounterAnimal (Wang et al. 2024, arXiv 2403.11497, section 3).

Every class has two groups of images: on a common background and on another, less common one. Accuracies are means over
classes, so that both groups give every class the same weight, and classes are compared with themselves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import COUNTER_BACKGROUND
from pytest_clip_robust.properties.accuracy import mean_over_classes
from pytest_clip_robust.scoring.decisions import Decisions, decide, decide_part
from pytest_clip_robust.stats.intervals import mean_interval

COMMON, COUNTER = "common", "counter"
GROUPS = (COMMON, COUNTER)
"""The two groups of images of every class, by their background."""

ACCURACY = Metric("backgrounds.mean_per_class", direction="higher", tolerance=0.01, headline=False)
DROP = Metric("backgrounds.drop", direction="lower", tolerance=0.01, headline=False)


def accuracy(source: Predictions | Decisions, group: str) -> Measurement:
    """Measure the mean of the classes' top-1 accuracies in one group, as ``backgrounds.mean_per_class``, 0 to 1.

    Interval and evidence are those of ``zero_shot.mean_per_class``. The group ``counter`` is a headline.

    Raises:
        MeasurementError: backgrounds are not annotated, no image is of that group, or `group` is not one of `GROUPS`.
    """
    if group not in GROUPS:
        raise MeasurementError(f"group={group!r}; expected one of {', '.join(GROUPS)}")
    decisions = decide(source)
    of_group = _counter(decisions) == (group == COUNTER)
    if not of_group.any():
        raise MeasurementError(f"{decisions.dataset!r}: no image is of the group {group!r}")
    metric = replace(ACCURACY, headline=group == COUNTER)
    return mean_over_classes(decide_part(source, of_group), metric, subset=group)


def drop(source: Predictions | Decisions) -> Measurement:
    """Measure the accuracy lost from common to other backgrounds, as ``backgrounds.drop``; lower is better.

    The value is the mean over classes of a class's accuracy in the group ``common`` minus that in ``counter``, -1 to 1.
    The interval is Student's for these paired differences: it covers other classes. Classes with images in one group
    only are left out. `details` have both means and the largest drop of a class; the remark names that class.

    Raises:
        MeasurementError: backgrounds are not annotated, or fewer than two classes have images in both groups.
    """
    decisions = decide(source)
    counter = _counter(decisions)
    common, other = (_per_class(decisions, counter == of_counter) for of_counter in (False, True))
    both = np.flatnonzero(~np.isnan(common) & ~np.isnan(other))
    if len(both) < 2:
        raise MeasurementError(
            f"{decisions.dataset!r}: {len(both)} classes have images on common and on counter backgrounds; expected 2 "
            "or more"
        )
    lost = common[both] - other[both]
    names = [decisions.class_names[i] if decisions.class_names else str(i) for i in both.tolist()]
    worst = int(lost.argmax())
    return Measurement.of(
        decisions,
        DROP,
        float(lost.mean()),
        mean_interval(lost, bounds=(-1.0, 1.0)),
        n=len(lost),
        outcomes=lost,
        samples=names,
        details={
            COMMON: float(common[both].mean()),
            COUNTER: float(other[both].mean()),
            "largest_drop": float(lost[worst]),
            "images": len(decisions),
        },
        remark=f"largest for {names[worst]}",
    )


def _counter(decisions: Decisions) -> NDArray[np.bool_]:
    found = decisions.annotations.get(COUNTER_BACKGROUND)
    if found is None:
        raise MeasurementError(
            f"{decisions.dataset!r} does not say which backgrounds are common; lay it out as CLASS/common-BACKGROUND "
            f"and CLASS/counter-BACKGROUND, or as a table with the column that factors={COUNTER_BACKGROUND} names"
        )
    return found


def _per_class(decisions: Decisions, chosen: NDArray[np.bool_]) -> Floats:
    """Return (C,) accuracies over the chosen images of each class, NaN for a class without one."""
    labels = decisions.labels[chosen]
    size = int(decisions.labels.max()) + 1
    images = np.bincount(labels, minlength=size)
    right = np.bincount(labels, weights=decisions.correct[chosen], minlength=size)
    accuracies: Floats = np.divide(right, images, out=np.full(size, np.nan), where=images > 0)
    return accuracies
