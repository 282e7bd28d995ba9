"""Slots: the devices of each worker that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_clip_robust.plugin.parallel.devices import INSTANCE_ID, Device

WORKER_RAM = 4.0
"""Assumed RAM of a worker on the CPU in GiB; a run of the showroom peaks at 2.2 in its main process."""

Slot = tuple[Device, ...]
"""The devices of one worker; `free` is the GiB that it can use of each."""


def gpu_slots(devices: Sequence[Device], worker_memory: float | None, *, first: int = 1) -> list[Slot]:
    """Return the devices of each worker that fits, in the order in which workers start.

    One worker per device if `worker_memory` is None. Otherwise as many as fit into free memory at `worker_memory` GiB
    each, spread over the devices before any device gets a second worker. If `first` is more than 1, the first worker
    has that many devices to itself, whole ones, as a process can see only one GPU instance. Empty if there are fewer.
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
        (replace(device, free=worker_memory) if workers > 1 else device,)
        for turn in range(max(rounds, default=0))
        for device, workers in zip(devices, rounds, strict=True)
        if turn < workers
    ]


def cpu_slots(cores: int, memory: float | None, worker_memory: float | None) -> int:
    """Return how many workers fit with one core and `worker_memory` of the `memory` GiB each; at least 1."""
    if memory is None:
        return max(1, cores)
    return max(1, min(cores, _fit(memory, worker_memory or WORKER_RAM)))


def _fit(memory: float, each: float) -> int:
    return int(memory / each + 1e-9)
