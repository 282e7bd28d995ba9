"""Thresholds: what a value must reach, looked up from the most specific key to the most general."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import ConfigError, did_you_mean

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A closed range that a value must lie in, and where that demand was written."""

    at_least: float = -math.inf
    at_most: float = math.inf
    source: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.at_least) or math.isnan(self.at_most) or self.at_least > self.at_most:
            raise ConfigError(
                f"threshold at_least={self.at_least}, at_most={self.at_most} ({self.source}) can never be met; "
                "give at_least <= at_most"
            )
        if math.isinf(self.at_least) and math.isinf(self.at_most):
            raise ConfigError(f"a threshold ({self.source}) without bounds gates nothing; give at_least or at_most")

    def admits(self, value: float) -> bool:
        """Tell whether `value` lies in the range, bounds included."""
        return self.at_least <= value <= self.at_most

    def bound_for(self, value: float) -> float:
        """Return the bound that `value` violates, or else the one nearest to it."""
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


def threshold_from_table(table: object, *, key: str, source: str) -> Threshold:
    """Read ``{ at_least = 0.5 }`` as TOML gives it.

    Raises:
        ConfigError: `table` is no table, has another key, or a bound is not a number.
    """
    where = f"threshold {key!r} in {source}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is {table!r}; expected a table such as {{ at_least = 0.5 }}")
    for name, bound in table.items():
        if name not in {"at_least", "at_most"}:
            raise ConfigError(f"{where}: unknown key {name!r}{did_you_mean(name, ('at_least', 'at_most'))}")
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise ConfigError(f"{where}: {name}={bound!r} is not a number")
    return Threshold(**{name: float(bound) for name, bound in table.items()}, source=source)


def most_specific(measurement: Measurement, entries: Mapping[str, Entry]) -> Entry | None:
    """Return the entry for ``metric[set/subset]``, else for ``metric[set]``, else for ``metric``."""
    for key in (measurement.key, f"{measurement.metric}[{measurement.dataset}]", measurement.metric):
        if key in entries:
            return entries[key]
    return None
