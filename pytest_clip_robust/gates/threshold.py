"""Thresholds and tolerances of a profile, looked up from the most specific key to the most general."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import ConfigError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A closed range that a value must be in, and `source`: where it was written.

    Raises:
        ConfigError: there is no bound, or no value can be in the range.
    """

    at_least: float = -math.inf
    at_most: float = math.inf
    source: str = ""

    def __post_init__(self) -> None:
        if math.isinf(self.at_least) and math.isinf(self.at_most):
            raise ConfigError("a threshold needs a bound; give at_least or at_most, as in { at_least = 0.5 }")
        if not self.at_least <= self.at_most:
            raise ConfigError(f"at_least={self.at_least} is above at_most={self.at_most}, so no value passes")

    def admits(self, value: float) -> bool:
        """Return whether `value` is in the range, bounds included."""
        return self.at_least <= value <= self.at_most

    def bound_for(self, value: float) -> float:
        """Return the bound that `value` violates, or else the nearer one."""
        if value < self.at_least:
            return self.at_least
        if value > self.at_most:
            return self.at_most
        return min((self.at_least, self.at_most), key=lambda bound: abs(bound - value))

    def __str__(self) -> str:
        parts = []
        if not math.isinf(self.at_least):
            parts.append(f">= {self.at_least:.4g}")
        if not math.isinf(self.at_most):
            parts.append(f"<= {self.at_most:.4g}")
        return " and ".join(parts)


def most_specific(measurement: Measurement, table: Mapping[str, Value]) -> Value | None:
    """Return the value of the key ``metric[set/subset]``, else of ``metric[set]``, else of ``metric``."""
    for key in keys_for(measurement.metric, measurement.dataset, measurement.key):
        if key in table:
            return table[key]
    return None


def find_tolerance(measurement: Measurement, tolerances: Mapping[str, float]) -> float:
    """Return the profile's most specific tolerance for `measurement`, or else the one that its property set."""
    found = most_specific(measurement, tolerances)
    return measurement.tolerance if found is None else found


def is_headline(measurement: Measurement, chosen: AbstractSet[str] | None) -> bool:
    """Return whether the profile's headlines (`chosen`) name `measurement`; without any, what its property says."""
    if chosen is None:
        return measurement.headline
    return not chosen.isdisjoint(headline_keys(measurement.metric, measurement.subset, measurement.key))


def headline_keys(metric: str, subset: str, key: str) -> tuple[str, ...]:
    """Return the keys that name a measurement as a headline: its own, and ``metric`` if it is of the whole set.

    Thresholds of a set apply to its subsets; that a set is a headline does not make each of its subsets one.
    """
    return (key,) if subset else (key, metric)


def keys_for(metric: str, dataset: str, key: str) -> tuple[str, str, str]:
    """Return the keys of thresholds and tolerances that apply to a measurement, the most specific first."""
    return key, f"{metric}[{dataset}]", metric
