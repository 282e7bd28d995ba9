"""Table of the corruption kinds by name, and the function that applies them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pytest_clip_robust.corruptions import bitstream, flash, focus, fog, motion, sensor, video
from pytest_clip_robust.corruptions.camera import check_intrinsics, usual_intrinsics
from pytest_clip_robust.corruptions.depth import complete_depth
from pytest_clip_robust.corruptions.kinds import check, needs_depth
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import CorruptionKind

SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True)
class Scene:
    """B images with the inputs that a corruption can use.

    rgb: (B, 3, H, W) uint8. depth: (B, H, W) float32, without holes. intrinsics: (B, 3, 3) float32, in pixels.
    rngs: one random generator per image.
    """

    rgb: Tensor
    depth: Tensor
    intrinsics: Tensor
    rngs: Sequence[np.random.Generator]


APPLY: Mapping[CorruptionKind, Callable[[Scene, int], Tensor]] = {
    "near_focus": lambda scene, s: focus.near_focus(scene.rgb, scene.depth, s),
    "far_focus": lambda scene, s: focus.far_focus(scene.rgb, scene.depth, s),
    "fog_3d": lambda scene, s: fog.fog(scene.rgb, scene.depth, s),
    "flash": lambda scene, s: flash.flash(scene.rgb, scene.depth, scene.intrinsics, s),
    "xy_motion_blur": lambda scene, s: motion.xy_motion_blur(scene.rgb, scene.depth, s, scene.rngs),
    "z_motion_blur": lambda scene, s: motion.z_motion_blur(scene.rgb, scene.depth, scene.intrinsics, s),
    "iso_noise": lambda scene, s: sensor.iso_noise(scene.rgb, s, scene.rngs),
    "low_light": lambda scene, s: sensor.low_light(scene.rgb, s, scene.rngs),
    "color_quant": lambda scene, s: sensor.color_quant(scene.rgb, s),
    "bit_error": lambda scene, s: bitstream.bit_error(scene.rgb, s, scene.rngs),
    "h265_abr": lambda scene, s: video.h265_abr(scene.rgb, s),
    "h265_crf": lambda scene, s: video.h265_crf(scene.rgb, s),
}
"""For each kind, the function that takes a scene and a severity from 1 to 5 and returns uint8 images."""


def corrupt(
    rgb: Tensor,
    kind: str,
    severity: int,
    *,
    seeds: Sequence[int],
    depth: Tensor | None = None,
    intrinsics: Tensor | None = None,
) -> Tensor:
    """Return corrupted copies of the (B, 3, H, W) uint8 images `rgb`.

    seeds: one integer per image. The result for an image depends on the image, its depth and its seed, and not on the
        rest of the batch. With the same seed, severities share noise and directions and differ in strength only.
    depth: (B, H, W) along the optical axis, in any unit; holes are filled by `complete_depth`. Used only by kinds for
        which `needs_depth` is true.
    intrinsics: (B, 3, 3) in pixels, with the first pixel's centre at (0.5, 0.5); by default those of a normal lens.

    Raises:
        ConfigError: there is no such kind or severity.
        DataError: the shapes of images, depth and intrinsics do not match, or an image is too small.
    """
    check(kind, severity)
    _check_images(rgb, seeds)
    batch, _, height, width = rgb.shape
    if needs_depth(kind):
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
    return APPLY[cast("CorruptionKind", kind)](Scene(rgb, depth, intrinsics.float().to(rgb.device), rngs), severity)


def generator(kind: str, seed: int) -> np.random.Generator:
    """Return the random generator of one image under one kind, independent of all other images and kinds."""
    digest = hashlib.sha256(f"{kind}|{seed}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def _check_images(rgb: Tensor, seeds: Sequence[int]) -> None:
    if rgb.dtype != torch.uint8 or rgb.ndim != 4 or rgb.shape[1] != 3:
        raise DataError(f"images of shape {tuple(rgb.shape)} and {rgb.dtype}; expected (B, 3, H, W) of torch.uint8")
    if min(rgb.shape[-2:]) < SMALLEST_SIDE:
        raise DataError(
            f"an image of {rgb.shape[-1]}x{rgb.shape[-2]} is too small to corrupt: "
            f"expected at least {SMALLEST_SIDE} pixels per side"
        )
    if len(seeds) != len(rgb):
        raise DataError(f"{len(seeds)} seeds for {len(rgb)} images; expected one per image")


def _check_depth(rgb: Tensor, kind: str, depth: Tensor | None) -> Tensor:
    if depth is None:
        raise DataError(f"{kind} needs depth: pass a depth map for every image")
    expected = (rgb.shape[0], *rgb.shape[-2:])
    if depth.shape != expected:
        raise DataError(f"depth of shape {tuple(depth.shape)} for images of {tuple(rgb.shape)}; expected {expected}")
    return depth.to(rgb.device)
