"""How many samples a batch: what is measured to be best on a CPU, what memory allows on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

ON_CPU = 16
"""Larger batches only move memory: 64 images cost the showroom's tower half as much CPU time again."""

PROBE = 16
AT_MOST = 512
"""Accelerators are busy long before, and worker processes share what is read in batches."""

SHARE = 0.7
"""Of the free memory: the rest is for what the allocator cannot use, and for the batch that is copied meanwhile."""


class DeviceMemory(Protocol):
    """The memory of an accelerator."""

    def free(self) -> int:
        """Return the bytes that could be allocated now."""

    def peak(self, work: Callable[[], Any]) -> int:
        """Return the bytes that `work` needs at most beyond what is allocated before it; None fits: it raises."""


class CudaMemory:
    """The memory of a CUDA device, as torch's allocator sees it."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def free(self) -> int:
        """Return what the driver has, and what torch holds without using it."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(torch.cuda.mem_get_info(self._device)[0]) + held

    def peak(self, work: Callable[[], Any]) -> int:
        """Return the bytes that `work` needs at most beyond what is allocated before it."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_allocated(self._device)) - before


def fitting_batch(memory: DeviceMemory, run: Callable[[int], Any], *, at_most: int = AT_MOST) -> int:
    """Return how many samples fit into `SHARE` of the free memory, a power of two, by what `PROBE` of them need.

    `run` sends that many samples through the model. The first call also sets up what stays (kernels' workspaces), so
    the second is measured. Where not even `PROBE` samples fit, `PROBE` is the answer, and is halved when it is used.
    """
    try:
        run(PROBE)
        needed = memory.peak(lambda: run(PROBE))
    except torch.cuda.OutOfMemoryError:
        return PROBE
    fitting = SHARE * memory.free() / max(needed / PROBE, 1)
    size = PROBE
    while 2 * size <= min(fitting, at_most):
        size *= 2
    return size
