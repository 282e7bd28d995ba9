"""The kinds of corruption by name, and the one door to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_clip_robust.corruptions import bitstream, flash, focus, fog, motion, sensor, video
from pytest_clip_robust.corruptions.camera import check_intrinsics, usual_intrinsics
from pytest_clip_robust.corruptions.depth import complete_depth
from pytest_clip_robust.errors import ConfigError, DataError, did_you_mean
from pytest_clip_robust.names import SEVERITIES

SMALLEST_SIDE = 16
VERSION = 1
"""Goes up whenever a kind gives other pixels than before."""


@dataclass(frozen=True, slots=True)
class Scene:
    """B images as the kinds see them.

    rgb: (B, 3, H, W) uint8. depth: (B, H, W) float32, complete; intrinsics: (B, 3, 3) float32, in pixels.
    rngs: one generator an image, its own.
    """

    rgb: Tensor
    depth: Tensor
    intrinsics: Tensor
    rngs: Sequence[np.random.Generator]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of corruption: from a scene and a severity of 1 to 5 to uint8 images."""

    apply: Callable[[Scene, int], Tensor]
    needs_depth: bool = False


KINDS: Mapping[str, Kind] = {
    "near_focus": Kind(lambda scene, s: focus.near_focus(scene.rgb, scene.depth, s), needs_depth=True),
    "far_focus": Kind(lambda scene, s: focus.far_focus(scene.rgb, scene.depth, s), needs_depth=True),
    "fog_3d": Kind(lambda scene, s: fog.fog(scene.rgb, scene.depth, s), needs_depth=True),
    "flash": Kind(lambda scene, s: flash.flash(scene.rgb, scene.depth, scene.intrinsics, s), needs_depth=True),
    "xy_motion_blur": Kind(
        lambda scene, s: motion.xy_motion_blur(scene.rgb, scene.depth, s, scene.rngs), needs_depth=True
    ),
    "z_motion_blur": Kind(
        lambda scene, s: motion.z_motion_blur(scene.rgb, scene.depth, scene.intrinsics, s), needs_depth=True
    ),
    "iso_noise": Kind(lambda scene, s: sensor.iso_noise(scene.rgb, s, scene.rngs)),
    "low_light": Kind(lambda scene, s: sensor.low_light(scene.rgb, s, scene.rngs)),
    "color_quant": Kind(lambda scene, s: sensor.color_quant(scene.rgb, s)),
    "bit_error": Kind(lambda scene, s: bitstream.bit_error(scene.rgb, s, scene.rngs)),
    "h265_abr": Kind(lambda scene, s: video.h265_abr(scene.rgb, s)),
    "h265_crf": Kind(lambda scene, s: video.h265_crf(scene.rgb, s)),
}


def corrupt(
    rgb: Tensor,
    kind: str,
    severity: int,
    *,
    seeds: Sequence[int],
    depth: Tensor | None = None,
    intrinsics: Tensor | None = None,
) -> Tensor:
    """Return the (B, 3, H, W) uint8 images `rgb`, corrupted.

    seeds: one whole number an image. An image's result depends on itself, its depth and its seed, on nothing else in
        the batch; severities of one seed share their noise and directions, so that only the strength differs.
    depth: (B, H, W) along the optical axis, in any unit; holes are filled as `complete_depth` says. Only the kinds
        whose `needs_depth` is true look at it.
    intrinsics: (B, 3, 3) in pixels, the first pixel's centre at (0.5, 0.5); by default a normal lens.

    Raises:
        ConfigError: there is no such kind or severity.
        DataError: images, depth or intrinsics do not fit one another, or an image is too small.
    """
    check(kind, severity)
    _check_images(rgb, seeds)
    batch, _, height, width = rgb.shape
    if KINDS[kind].needs_depth:
        depth = complete_depth(_check_depth(rgb, kind, depth))
    else:
        depth = rgb.new_ones((batch, height, width), dtype=torch.float32)
    if intrinsics is None:
        intrinsics = usual_intrinsics(height, width).expand(batch, 3, 3)
    elif intrinsics.shape != (batch, 3, 3):
        raise DataError(f"intrinsics of shape {tuple(intrinsics.shape)} for {batch} images; expected ({batch}, 3, 3)")
    else:
        check_intrinsics(intrinsics, height, width)
    rngs = [generator(kind, seed) for seed in seeds]
    return KINDS[kind].apply(Scene(rgb, depth, intrinsics.float().to(rgb.device), rngs), severity)


def needs_depth(kind: str) -> bool:
    """Tell whether a kind uses the geometry of the scene.

    Raises:
        ConfigError: there is no such kind.
    """
    check(kind, SEVERITIES[0])
    return KINDS[kind].needs_depth


def check(kind: str, severity: int) -> None:
    """Refuse what is no kind or no severity.

    Raises:
        ConfigError: as `corrupt` says.
    """
    if kind not in KINDS:
        raise ConfigError(f"no corruption {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    if severity not in SEVERITIES:
        raise ConfigError(f"severity {severity!r} of {kind}: expected a whole number from 1 to 5")


def generator(kind: str, seed: int) -> np.random.Generator:
    """Return the random numbers of one image under one kind: of its own stream, not one that others draw from."""
    digest = hashlib.sha256(f"{kind}|{seed}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def _check_images(rgb: Tensor, seeds: Sequence[int]) -> None:
    if rgb.dtype != torch.uint8 or rgb.ndim != 4 or rgb.shape[1] != 3:
        raise DataError(f"images of shape {tuple(rgb.shape)} and {rgb.dtype}; expected (B, 3, H, W) of torch.uint8")
    if min(rgb.shape[-2:]) < SMALLEST_SIDE:
        raise DataError(
            f"an image of {rgb.shape[-1]}x{rgb.shape[-2]} is too small to corrupt: "
            f"expected {SMALLEST_SIDE} pixels a side or more"
        )
    if len(seeds) != len(rgb):
        raise DataError(f"{len(seeds)} seeds for {len(rgb)} images; expected one each")


def _check_depth(rgb: Tensor, kind: str, depth: Tensor | None) -> Tensor:
    if depth is None:
        raise DataError(f"{kind} needs depth: give a set with a depth column, or name a depth model")
    expected = (rgb.shape[0], *rgb.shape[-2:])
    if depth.shape != expected:
        raise DataError(f"depth of shape {tuple(depth.shape)} for images of {tuple(rgb.shape)}; expected {expected}")
    return depth.to(rgb.device)
