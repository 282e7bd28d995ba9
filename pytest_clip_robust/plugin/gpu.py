"""GPU needs of a test, from its marker: ``clip_gpu(memory=20)``, ``clip_gpu(count=2, memory=20)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_clip_robust.errors import ConfigError

if TYPE_CHECKING:
    import pytest

MARKER = "clip_gpu"


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """A number of GPUs, and the GiB needed on each.

    >>> str(GpuNeed(2, 20.0)), str(GpuNeed())
    ('2 GPUs with 20 GiB each', '1 GPU')
    """

    count: int = 1
    memory: float = 0.0

    def __str__(self) -> str:
        gpus = "1 GPU" if self.count == 1 else f"{self.count} GPUs"
        each = " each" if self.count > 1 else ""
        return f"{gpus} with {self.memory:g} GiB{each}" if self.memory else gpus

    def fits(self, gpus: Sequence[float]) -> bool:
        """Return whether a process that can use `gpus` GiB on each of its GPUs has enough; its model is on the first.

        >>> GpuNeed(2, 20.0).fits([24.0, 24.0, 8.0]), GpuNeed(1, 20.0).fits([8.0, 24.0])
        (True, False)
        """
        return len(gpus) >= self.count and all(free >= self.memory for free in gpus[: self.count])


def gpu_need(item: pytest.Item) -> GpuNeed | None:
    """Return what a test's marker asks for, or None without a marker.

    Raises:
        ConfigError: its arguments are not a count of GPUs and an amount of memory.
    """
    mark = item.get_closest_marker(MARKER)
    if mark is None:
        return None
    count, memory = mark.kwargs.get("count", 1), mark.kwargs.get("memory", 0.0)
    unknown = [*map(repr, mark.args), *(f"{name}=" for name in mark.kwargs if name not in {"count", "memory"})]
    if unknown:
        raise ConfigError(f"{MARKER}({unknown[0]}): expected count= and memory=, as in {MARKER}(count=2, memory=20)")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(f"{MARKER}(count={count!r}): expected a number of GPUs, 1 or more")
    if not isinstance(memory, int | float) or isinstance(memory, bool) or not 0 <= memory < math.inf:
        raise ConfigError(f"{MARKER}(memory={memory!r}): expected the GiB needed on each GPU, a number such as 20")
    return GpuNeed(count, float(memory))
