"""Which corruptions a run applies: the kinds and severities by name, and what the profile says of them.

Imports nothing heavy; `corruptions` has what the names stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pytest_clip_robust.errors import ConfigError, did_you_mean

KINDS = (
    "near_focus",
    "far_focus",
    "fog_3d",
    "flash",
    "xy_motion_blur",
    "z_motion_blur",
    "iso_noise",
    "low_light",
    "color_quant",
    "bit_error",
    "h265_abr",
    "h265_crf",
)
"""The kinds of ImageNet-3DCC (Kar et al. 2022); the first six need depth."""

SEVERITIES = (1, 2, 3, 4, 5)
ALSO = ("calibration", "ood")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionPlan:
    """What the section ``[corruptions]`` of a profile says.

    images: how many images of each set are corrupted, spread evenly over its classes; 0 for all.
    seed: another one gives other noise, directions and flipped bits.
    depth: a transformers depth-estimation model (a folder or a hub name) for sets without depth.
    also: which of ALSO are measured under corruption as well.
    """

    kinds: tuple[str, ...] = KINDS
    severities: tuple[int, ...] = SEVERITIES
    images: int = 0
    seed: int = 0
    depth: str = ""
    also: tuple[str, ...] = ()


def read_plan(table: Mapping[str, Any], *, source: str) -> CorruptionPlan:
    """Read the section as TOML gives it.

    Raises:
        ConfigError: an unknown key, kind or severity, or a value of the wrong kind; the message names `source`.
    """
    known = [field.name for field in fields(CorruptionPlan)]
    where = f"{source}: corruptions"
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has {key!r}{did_you_mean(key, known)}; expected {', '.join(known)}")
    plan: dict[str, Any] = {}
    for key, allowed in (("kinds", KINDS), ("severities", SEVERITIES), ("also", ALSO)):
        if key in table:
            plan[key] = _some_of(table[key], allowed, where=f"{where}.{key}")
    for key in ("images", "seed"):
        if key in table:
            plan[key] = read_count(table[key], where=f"{where}.{key}")
    if "depth" in table:
        if not isinstance(table["depth"], str):
            raise ConfigError(f"{where}.depth={table['depth']!r}; expected a folder or a hub name")
        plan["depth"] = table["depth"]
    return CorruptionPlan(**plan)


def _some_of(value: object, allowed: tuple[Any, ...], *, where: str) -> tuple[Any, ...]:
    """Read a list of allowed values, in the allowed order."""
    if not isinstance(value, list) or (not value and allowed is not ALSO):
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
