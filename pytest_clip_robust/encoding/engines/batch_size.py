"""Batch sizes: a constant on a CPU, and as many samples as memory allows on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

CPU_BATCH = 16
"""Larger batches only cost memory bandwidth: with 64 images the showroom's tower needs 1.5 times the CPU time."""

PROBE_BATCH = 16
LARGEST_BATCH = 512
"""Smaller batches saturate an accelerator already, and spread decoding over more worker processes."""

MEMORY_FRACTION = 0.7
"""Of the free memory. The rest is for fragmentation in the allocator and for the next batch, which is being copied."""


class DeviceMemory(Protocol):
    """The memory of an accelerator."""

    def free(self) -> int:
        """Return the bytes that could be allocated now."""

    def peak(self, work: Callable[[], Any]) -> int:
        """Return the peak of bytes that `work` allocates; raise OutOfMemoryError if it does not fit."""


class CudaMemory:
    """The memory of a CUDA device, as torch's allocator reports it."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def free(self) -> int:
        """Return the driver's free bytes plus those that torch has reserved and does not use."""
        reserved = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(torch.cuda.mem_get_info(self._device)[0]) + reserved

    def peak(self, work: Callable[[], Any]) -> int:
        """Return the peak of bytes that `work` allocates in addition to those allocated before."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_allocated(self._device)) - before


def largest_batch(memory: DeviceMemory, run: Callable[[int], Any], *, at_most: int = LARGEST_BATCH) -> int:
    """Return the largest power of two of samples that fits into `MEMORY_FRACTION` of the free memory.

    `run` sends a number of samples through the model. It is called with `PROBE_BATCH` samples twice: the first call
    also allocates permanent workspaces, the second is measured. If not even these fit, the result is `PROBE_BATCH`, and
    the batch is halved when it is used.
    """
    try:
        run(PROBE_BATCH)
        needed = memory.peak(lambda: run(PROBE_BATCH))
    except torch.cuda.OutOfMemoryError:
        return PROBE_BATCH
    fitting = MEMORY_FRACTION * memory.free() / max(needed / PROBE_BATCH, 1)
    size = PROBE_BATCH
    while 2 * size <= min(fitting, at_most):
        size *= 2
    return size
