"""The corruption kinds by name and what each needs, without the code that applies them, which imports torch."""

from __future__ import annotations

from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.names import CORRUPTION_KINDS, SEVERITIES, CorruptionKind

VERSION = 1
"""Part of the identity of corrupted images; it changes whenever a kind gives other pixels than before."""

OF_DEPTH: frozenset[CorruptionKind] = frozenset(
    {"near_focus", "far_focus", "fog_3d", "flash", "xy_motion_blur", "z_motion_blur"}
)
"""The kinds that need the depth of the scene."""


def needs_depth(kind: str) -> bool:
    """Return whether a kind needs the depth of the scene.

    Raises:
        ConfigError: there is no such kind.
    """
    check(kind, SEVERITIES[0])
    return kind in OF_DEPTH


def check(kind: str, severity: int) -> None:
    """Check that kind and severity exist.

    Raises:
        ConfigError: there is no such kind or severity.
    """
    if kind not in CORRUPTION_KINDS:
        raise ConfigError(
            f"no corruption {kind!r}{did_you_mean(kind, CORRUPTION_KINDS)}; "
            f"expected one of: {', '.join(CORRUPTION_KINDS)}"
        )
    if severity not in SEVERITIES:
        raise ConfigError(f"severity {severity!r} of {kind}: expected a whole number from 1 to 5")
