"""Flash: a light at the camera, with an exposure that darkens the ambient light."""

from __future__ import annotations

from torch import Tensor

from pytest_clip_robust.corruptions.camera import facing, rays
from pytest_clip_robust.corruptions.depth import quantile
from pytest_clip_robust.corruptions.focus import NEAREST, scale_of
from pytest_clip_robust.corruptions.light import to_codes, to_linear

AMBIENT = (0.7, 0.55, 0.4, 0.3, 0.2)
POWER = (1.0, 2.0, 3.5, 5.5, 8.0)
"""Flash light over ambient light, on a surface at the nearest distance that faces the camera, by severity."""

BOUNCED = 0.25
"""Fraction of the flash that is reflected by the surroundings and reaches surfaces that face away."""

GLOSS, SHARPNESS = 0.02, 24
"""Fraction of the flash that surfaces reflect specularly, and the exponent of the reflection (Phong 1975)."""


def flash(rgb: Tensor, depth: Tensor, intrinsics: Tensor, severity: int) -> Tensor:
    """Light the scene from the camera, by Lambert's law and the inverse square of the distance.

    Near surfaces clip, surfaces that face the camera glare, and the background becomes dark.
    """
    ambient, power = AMBIENT[severity - 1], POWER[severity - 1]
    squared_ray = (rays(intrinsics, *depth.shape[-2:]) ** 2).sum(dim=1) + 1
    falloff = (quantile(depth, NEAREST) / depth).clamp(max=1.2) ** 2 / squared_ray
    cosine = facing(depth, intrinsics, reach=max(1, round(3 * scale_of(rgb))))
    lit = ambient + power * falloff * (BOUNCED + (1 - BOUNCED) * cosine)
    glare = power * falloff * GLOSS * cosine**SHARPNESS
    return to_codes(to_linear(rgb) * lit[:, None] + glare[:, None])
