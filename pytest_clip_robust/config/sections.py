"""Which corruptions a run applies: the kinds and severities by name, and what the profile says of them.

Imports nothing heavy; `corruptions` has what the names stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.names import ALSO_UNDER_CORRUPTION, CORRUPTION_KINDS, SEVERITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionSettings:
    """What the section ``[corruptions]`` of a profile says.

    images: how many images of each set are corrupted, spread evenly over its classes; 0 for all.
    seed: another one gives other noise, directions and flipped bits.
    depth: a transformers depth-estimation model (a folder or a hub name) for sets without depth.
    also: which of ALSO_UNDER_CORRUPTION are measured under corruption as well.
    """

    kinds: tuple[str, ...] = CORRUPTION_KINDS
    severities: tuple[int, ...] = SEVERITIES
    images: int = 0
    seed: int = 0
    depth: str = ""
    also: tuple[str, ...] = ()


def read_plan(table: Mapping[str, Any], *, source: str) -> CorruptionSettings:
    """Read the section as TOML gives it.

    Raises:
        ConfigError: an unknown key, kind or severity, or a value of the wrong kind; the message names `source`.
    """
    known = [field.name for field in fields(CorruptionSettings)]
    where = f"{source}: corruptions"
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has {key!r}{did_you_mean(key, known)}; expected {', '.join(known)}")
    plan: dict[str, Any] = {}
    for key, allowed in (("kinds", CORRUPTION_KINDS), ("severities", SEVERITIES), ("also", ALSO_UNDER_CORRUPTION)):
        if key in table:
            plan[key] = _some_of(table[key], allowed, where=f"{where}.{key}")
    for key in ("images", "seed"):
        if key in table:
            plan[key] = read_count(table[key], where=f"{where}.{key}")
    if "depth" in table:
        if not isinstance(table["depth"], str):
            raise ConfigError(f"{where}.depth={table['depth']!r}; expected a folder or a hub name")
        plan["depth"] = table["depth"]
    return CorruptionSettings(**plan)


def _some_of(value: object, allowed: tuple[Any, ...], *, where: str) -> tuple[Any, ...]:
    """Read a list of allowed values, in the allowed order."""
    if not isinstance(value, list) or (not value and allowed is not ALSO_UNDER_CORRUPTION):
        raise ConfigError(f"{where}={value!r}; expected a list of some of {', '.join(map(str, allowed))}")
    for one in value:
        if one not in allowed or isinstance(one, bool):
            near = did_you_mean(one, [str(known) for known in allowed]) if isinstance(one, str) else ""
            raise ConfigError(f"{where} has {one!r}{near}; expected some of {', '.join(map(str, allowed))}")
    return tuple(one for one in allowed if one in value)


def read_count(value: object, *, where: str) -> int:
    """Return a whole number of at least 0, as TOML gives it.

    Raises:
        ConfigError: it is none; the message names `where`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{where}={value!r}; expected a whole number, 0 or more")
    return value


LEAST_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrespondenceSettings:
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


def read_correspondence_plan(table: Mapping[str, Any], *, source: str) -> CorrespondenceSettings:
    """Read the section as TOML gives it.

    Raises:
        ConfigError: an unknown key, or a value of the wrong kind; the message names `source`.
    """
    known = [field.name for field in fields(CorrespondenceSettings)]
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
    return CorrespondenceSettings(**plan)


def _edges(value: object, *, where: str) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in value
    )
    if not isinstance(value, list) or not numbers or len(value) < 2:
        raise ConfigError(f"{where}={value!r}; expected a list of degrees, such as [0, 30, 60, 90, 120]")
    if value[0] < 0 or value[-1] > 180 or any(low >= high for low, high in pairwise(value)):
        raise ConfigError(f"{where}={value!r}; expected rising degrees from 0 to 180")
    return tuple(value)
