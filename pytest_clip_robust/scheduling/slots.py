"""How many workers there is room for, and on which device each of them works."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clip_robust.scheduling.devices import Device

WORKER_RAM = 4.0
"""GiB of RAM a worker on the CPU is taken to need; a run of the showroom peaks at 2.2 in its main process."""


def gpu_slots(devices: Sequence[Device], worker_memory: float | None) -> list[Device]:
    """Return the device of each worker there is room for, in the order they are to be filled.

    One worker a device where `worker_memory` is None. Otherwise as many as free memory holds at `worker_memory` GiB
    each, and every device gets its first before any gets its second.
    """
    if worker_memory is None:
        return list(devices)
    rounds = [_fit(device.free, worker_memory) for device in devices]
    return [
        device
        for turn in range(max(rounds, default=0))
        for device, room in zip(devices, rounds, strict=True)
        if turn < room
    ]


def cpu_slots(cores: int, memory: float | None, worker_memory: float | None) -> int:
    """Return how many workers there is room for with a core and `worker_memory` of `memory` GiB each; at least 1."""
    if memory is None:
        return max(1, cores)
    return max(1, min(cores, _fit(memory, worker_memory or WORKER_RAM)))


def _fit(memory: float, each: float) -> int:
    return int(memory / each + 1e-9)
