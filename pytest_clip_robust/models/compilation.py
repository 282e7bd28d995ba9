"""Compile towers with torch.compile, if this machine can and the features stay the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from PIL import Image

from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

Tower = Callable[[torch.Tensor], torch.Tensor]

BACKEND = "inductor"

TOLERANCE = {"fp32": 1e-6, "bf16": 1e-3, "fp16": 1e-4}
"""The largest cosine distance to the features of the uncompiled tower that counts as rounding, by precision."""


class CannotCompileError(Exception):
    """The tower cannot be compiled; the message says why."""


def noise_image() -> Image.Image:
    """Return the RGB image of 64 x 64 random pixels that towers are tried with."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def noise_pixels(preprocess: Callable[[Image.Image], Any]) -> torch.Tensor:
    """Return the (2, ...) pixels of two such images, as `preprocess` makes them."""
    return torch.stack([preprocess(noise_image())] * 2)


def compile_towers(
    image: tuple[Tower, torch.Tensor],
    text: tuple[Tower, torch.Tensor],
    *,
    precision: str,
    arithmetic: Callable[[], AbstractContextManager[None]],
) -> tuple[Tower, Tower, list[str]]:
    """Return both towers, each given with a probe, compiled if possible, and a note for each that is not.

    For the arguments see `compile_tower`.
    """
    towers, notes = [], []
    for name, (tower, probe) in (("image", image), ("text", text)):
        try:
            towers.append(compile_tower(tower, probe, precision=precision, arithmetic=arithmetic))
        except CannotCompileError as error:
            towers.append(tower)
            notes.append(f"its {name} tower is not compiled: {error}")
    return towers[0], towers[1], notes


def compile_tower(
    tower: Tower, probe: torch.Tensor, *, precision: str, arithmetic: Callable[[], AbstractContextManager[None]]
) -> Tower:
    """Return `tower` compiled for batches of any size, after a trial on the (B, ...) `probe`, B >= 2.

    Tokens (B, L) can have any length as well.

    `arithmetic` opens the contexts in which the tower will be called, such as autocast: the compiled code depends on
    them.

    Raises:
        CannotCompileError: this machine has no compiler, torch.compile fails, or the features changed.
    """
    quick: Tower = torch.compile(tower, backend=BACKEND)
    with torch.inference_mode(), arithmetic(), quiet():
        plain = tower(probe)
        for dimension in (0, 1) if probe.ndim == 2 else (0,):
            torch._dynamo.maybe_mark_dynamic(probe, dimension)  # noqa: SLF001 - documented under this name
        try:
            features = quick(probe)
        except Exception as error:  # compilers raise errors of many kinds
            raise CannotCompileError(f"{type(error).__name__}: {one_line(error, longest=160)}") from error
    distance = cosine_distance(features, plain)
    if not distance < TOLERANCE[precision]:
        raise CannotCompileError(f"its features would change by a cosine distance of {distance:.1g}")

    def tower_compiled(inputs: torch.Tensor) -> torch.Tensor:
        with quiet():  # a new batch size may be compiled on first use
            return quick(inputs)

    return tower_compiled


def cosine_distance(features: torch.Tensor, plain: torch.Tensor) -> float:
    """Return the largest cosine distance between (B, D) `features` and `plain` ones; NaN if one is NaN."""
    return float((1 - torch.cosine_similarity(features.double(), plain.double())).max())
