"""Capacity: how many xdist workers the GPUs or the CPU can hold, and the environment that pins each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.plugin.options import device_asked, worker_gpus_asked, worker_memory_asked
from pytest_clip_robust.plugin.parallel.devices import Device, find_devices
from pytest_clip_robust.plugin.parallel.slots import Slot, cpu_slots, gpu_slots
from pytest_clip_robust.system.machine import count_cores, free_memory

GPU_MEMORY = "CLIP_ROBUST_GPU_MEMORY"
"""Environment variable: the GiB that a worker can use on each of its GPUs, such as ``16,16``."""

AUTO_WORKERS = "PYTEST_XDIST_AUTO_NUM_WORKERS"
"""The environment variable of pytest-xdist that sets the number of workers for ``-n auto``."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The workers that fit on the devices of a run.

    devices: the GPUs, empty on the CPU. slots: the GPUs of each worker that fits.
    worker_memory: the GiB that a worker needs, or None if each worker has a GPU to itself.
    worker_gpus: the number of GPUs of the first worker.
    pins: whether each worker sees only its GPUs; it must see all of them if the user gave a device number.
    """

    devices: tuple[Device, ...]
    slots: tuple[Slot, ...]
    worker_memory: float | None
    worker_gpus: int
    pins: bool

    def refusal(self, asked: int | None = None) -> str:
        """Return one line: why `asked` workers do not fit, and how many do."""
        gpus = count(len(self.devices), "GPU")
        most = f"{max(device.free for device in self.devices):.1f} GiB"
        if not self.slots and self.worker_gpus > 1:
            return f"--clip-worker-gpus {self.worker_gpus}: this run has only {gpus}; lower it"
        if not self.slots:
            return (
                f"--clip-worker-memory {self.worker_memory:g}: no worker fits on {gpus} with at most {most} free; "
                "lower it, or run with --clip-device cpu"
            )
        verb = "has" if len(self.devices) == 1 else "have"
        fits = count(len(self.slots), "worker")
        if self.worker_memory is None:
            why, way_out = "one each", "let several share one with --clip-worker-memory GIB"
        else:
            why, way_out = f"--clip-worker-memory {self.worker_memory:g} GiB each", "lower it"
        if self.worker_gpus > 1:
            why = f"the first with {self.worker_gpus}, {why}"
        return f"-n {asked}: {gpus} {verb} room for {fits}, {why}; use -n {len(self.slots)}, or {way_out}"


CAPACITY: pytest.StashKey[Capacity] = pytest.StashKey()


def capacity_of(config: pytest.Config) -> Capacity:
    """Return the capacity of this run; the GPUs are queried once.

    Raises:
        pytest.UsageError: ``--clip-worker-memory`` or ``--clip-worker-gpus`` is not a valid number.
    """
    if CAPACITY not in config.stash:
        try:
            memory, first = worker_memory_asked(config), worker_gpus_asked(config)
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
        asked = device_asked(config)
        devices = _devices_for(asked)
        config.stash[CAPACITY] = Capacity(
            devices=tuple(devices),
            slots=tuple(gpu_slots(devices, memory, first=first)),
            worker_memory=memory,
            worker_gpus=first,
            pins=bool(devices) and ":" not in asked,
        )
    return config.stash[CAPACITY]


def auto_workers(config: pytest.Config) -> int | None:
    """Return the number of workers for ``-n auto``, or None if xdist's environment variable sets it.

    Raises:
        pytest.UsageError: no GPU has the memory that a worker needs, or the run has too few for the first worker.
    """
    if os.environ.get(AUTO_WORKERS):
        return None
    capacity = capacity_of(config)
    if not capacity.devices:
        return cpu_slots(count_cores(), free_memory(), capacity.worker_memory)
    if not capacity.slots:
        raise pytest.UsageError(capacity.refusal())
    return len(capacity.slots)


def gpus_of(config: pytest.Config) -> list[float]:
    """Return the GiB that this process can use on each of its GPUs, as the controller set them or as are free."""
    assigned = os.environ.get(GPU_MEMORY)
    if assigned is not None:
        return [float(memory) for memory in assigned.split(",")]
    return [device.free for device in capacity_of(config).devices]


def pin(slot: Slot, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker that sees only its devices, in nvidia-smi's order or the user's."""
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(device.id for device in slot),
        "CUDA_DEVICE_ORDER": environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
    }


def count(number: int, thing: str) -> str:
    """Return a number with its noun.

    >>> count(1, "GPU"), count(2, "GPU")
    ('1 GPU', '2 GPUs')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _devices_for(asked: str) -> list[Device]:
    """Return the GPUs that ``--clip-device`` allows: all for auto and cuda, one for cuda:1, else none."""
    if asked in {"auto", "cuda"}:
        return find_devices()
    kind, _, index = asked.partition(":")
    return find_devices()[int(index) :][:1] if kind == "cuda" and index.isdecimal() else []
