"""What a profile says of correspondence: how large pictures are, how many pairs, and which bins of view angles.

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from pytest_clip_robust.corruption_plan import read_count
from pytest_clip_robust.errors import ConfigError, did_you_mean

LEAST_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrespondencePlan:
    """What the section ``[correspondence]`` of a profile says.

    size: pixels of a picture's longer side, as the model sees it.
    pairs: how many pairs of each set are compared, spread evenly over scenes and angles, or classes; 0 for all.
    angles: edges of the bins of view angles, in degrees.
    """

    size: int = 512
    pairs: int = 0
    angles: tuple[float, ...] = (0, 30, 60, 90, 120)

    @property
    def bins(self) -> tuple[tuple[float, float], ...]:
        """The bins of view angles, each from its first edge to below its second."""
        return tuple(pairwise(self.angles))


def bin_name(edges: tuple[float, float]) -> str:
    """Name a bin of view angles.

    >>> bin_name((30, 60))
    '30-60'
    """
    low, high = edges
    return f"{low:g}-{high:g}"


def read_correspondence_plan(table: Mapping[str, Any], *, source: str) -> CorrespondencePlan:
    """Read the section as TOML gives it.

    Raises:
        ConfigError: an unknown key, or a value of the wrong kind; the message names `source`.
    """
    known = [field.name for field in fields(CorrespondencePlan)]
    where = f"{source}: correspondence"
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has {key!r}{did_you_mean(key, known)}; expected {', '.join(known)}")
    plan: dict[str, Any] = {
        key: read_count(table[key], where=f"{where}.{key}") for key in ("size", "pairs") if key in table
    }
    if plan.get("size", LEAST_SIZE) < LEAST_SIZE:
        raise ConfigError(f"{where}.size={plan['size']}; expected at least {LEAST_SIZE} pixels")
    if "angles" in table:
        plan["angles"] = _edges(table["angles"], where=f"{where}.angles")
    return CorrespondencePlan(**plan)


def _edges(value: object, *, where: str) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in value
    )
    if not isinstance(value, list) or not numbers or len(value) < 2:
        raise ConfigError(f"{where}={value!r}; expected a list of degrees, such as [0, 30, 60, 90, 120]")
    if value[0] < 0 or value[-1] > 180 or any(low >= high for low, high in pairwise(value)):
        raise ConfigError(f"{where}={value!r}; expected rising degrees from 0 to 180")
    return tuple(value)
