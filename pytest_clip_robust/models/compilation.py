"""Towers through torch.compile: faster kernels, where this machine can make them and they give the same features."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

Tower = Callable[[torch.Tensor], torch.Tensor]

BACKEND = "inductor"

TOLERANCE = {"fp32": 1e-6, "bf16": 1e-3, "fp16": 1e-4}
"""The cosine distance to the features of the plain tower that is taken for rounding, by precision."""


class CannotCompileError(Exception):
    """The tower stays as it is; the message says why."""


def compile_tower(
    tower: Tower, probe: torch.Tensor, *, precision: str, arithmetic: Callable[[], AbstractContextManager[None]]
) -> Tower:
    """Return `tower` compiled for batches of any size, as it was tried on the (B, ...) `probe`, B >= 2.

    `arithmetic` opens the contexts, such as autocast, in which the tower will be called: code is made for them.

    Raises:
        CannotCompileError: there is no compiler, the tower is beyond torch.compile, or its features changed.
    """
    quick: Tower = torch.compile(tower, backend=BACKEND)
    with torch.inference_mode(), arithmetic(), quiet():
        plain = tower(probe)
        torch._dynamo.maybe_mark_dynamic(probe, 0)  # noqa: SLF001 - its public place
        try:
            features = quick(probe)
        except Exception as error:  # compilers raise whatever they meet
            raise CannotCompileError(f"{type(error).__name__}: {one_line(error, longest=160)}") from error
    _check(features, plain, precision)

    def tower_compiled(inputs: torch.Tensor) -> torch.Tensor:
        with quiet():  # another size may be compiled on its first use
            return quick(inputs)

    return tower_compiled


def _check(features: torch.Tensor, plain: torch.Tensor, precision: str) -> None:
    distance = float((1 - torch.cosine_similarity(features.double(), plain.double())).max())
    if not distance < TOLERANCE[precision]:
        raise CannotCompileError(f"its features would move by a cosine distance of {distance:.1g}")
