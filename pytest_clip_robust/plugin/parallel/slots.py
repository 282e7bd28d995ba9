"""How many workers there is room for, and on which devices each of them works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_clip_robust.plugin.parallel.devices import INSTANCE_ID, Device

WORKER_RAM = 4.0
"""GiB of RAM a worker on the CPU is taken to need; a run of the showroom peaks at 2.2 in its main process."""

Slot = tuple[Device, ...]
"""The devices of one worker; `free` is what it may use of each."""


def gpu_slots(devices: Sequence[Device], worker_memory: float | None, *, first: int = 1) -> list[Slot]:
    """Return the devices of each worker there is room for, in the order they are to be filled.

    One worker a device where `worker_memory` is None. Otherwise as many as free memory holds at `worker_memory` GiB
    each, and every device gets its first before any gets its second. Where `first` is more than 1, the first worker has
    so many devices to itself; instances of a GPU are not among them, as a process sees only one. No worker at all where
    there are too few.
    """
    wide: list[Slot] = []
    if first > 1:
        together = [device for device in devices if not device.id.startswith(INSTANCE_ID)][:first]
        if len(together) < first:
            return []
        wide = [tuple(together)]
        devices = [device for device in devices if device not in together]
    if worker_memory is None:
        return [*wide, *((device,) for device in devices)]
    rounds = [_fit(device.free, worker_memory) for device in devices]
    return wide + [
        (replace(device, free=worker_memory) if room > 1 else device,)
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
