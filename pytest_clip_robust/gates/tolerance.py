"""Tolerances: the largest loss that does not count as a regression, in the units of the value."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates.threshold import most_specific


def find_tolerance(measurement: Measurement, tolerances: Mapping[str, float]) -> float:
    """Return the profile's most specific tolerance for `measurement`, or else the one that its property set."""
    found = most_specific(measurement, tolerances)
    return measurement.tolerance if found is None else found


def tolerance_from_value(value: object, *, key: str, source: str) -> float:
    """Read a tolerance as TOML gives it.

    Raises:
        ConfigError: it is not a number, not finite, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"tolerance {key!r} in {source} is {value!r}; expected a number of at least 0, such as 0.01")
    return float(value)
