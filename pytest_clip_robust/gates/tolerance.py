"""Tolerances: how much worse than before a value may get before anybody minds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates.threshold import most_specific

DEFAULT = 0.01
"""A point, for everything that lies between 0 and 1."""

BY_METRIC: Mapping[str, float] = {
    "shift.effective_robustness_": 1.0,
    "visual_factors.error_ratio_": 0.05,
    "shift.relative_robustness": 0.02,
    "shape_bias.ratio_": 0.02,
    "shape_bias.class_average_": 0.02,
    "shape_bias.error_consistency_": 0.02,
    "ood.fpr95_": 0.02,
    "ood.class_mean_fpr95_": 0.02,
    "ood.mean_fpr95_": 0.02,
    "calibration.nll": 0.02,
    "retrieval.mean_rank_": 1.0,
    "retrieval.median_rank_": 1.0,
    "features.": 0.05,
    "corruption.relative_robustness": 0.02,
    "corruption.mce_alexnet": 0.02,
    "corruption.half": 0.2,
}
"""By the first letters of a metric's id: what is no share, or jumps more than one by nature."""


def find_tolerance(measurement: Measurement, tolerances: Mapping[str, float]) -> float:
    """Return the profile's most specific tolerance for `measurement`, or else the default for its metric."""
    found = most_specific(measurement, tolerances)
    if found is not None:
        return found
    return next((one for start, one in BY_METRIC.items() if measurement.metric.startswith(start)), DEFAULT)


def tolerance_from_value(value: object, *, key: str, source: str) -> float:
    """Read a tolerance as TOML gives it.

    Raises:
        ConfigError: it is no finite number, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"tolerance {key!r} in {source} is {value!r}; expected a number of at least 0, such as 0.01")
    return float(value)
