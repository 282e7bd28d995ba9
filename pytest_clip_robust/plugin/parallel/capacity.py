"""How many workers a run has room for, and the environment that keeps each in its place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.plugin.keys import CAPACITY
from pytest_clip_robust.plugin.options import device_asked, worker_gpus_asked, worker_memory_asked
from pytest_clip_robust.plugin.parallel.devices import Device, find_devices
from pytest_clip_robust.plugin.parallel.slots import Slot, cpu_slots, gpu_slots
from pytest_clip_robust.system.machine import count_cores, free_memory

THREAD_CAPS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

GPU_MEMORY = "CLIP_ROBUST_GPU_MEMORY"
"""Tells a worker how many GiB it may use on each of its GPUs, such as ``16,16``."""

AUTO_WORKERS = "PYTEST_XDIST_AUTO_NUM_WORKERS"
"""The variable of pytest-xdist that says how many workers ``-n auto`` is."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The GPUs of a run, none where it works on the CPU, and those of each worker there is room for.

    worker_memory: the GiB that a worker needs, or None for a GPU to itself. worker_gpus: how many the first worker has.
    pins: whether workers are to see their GPUs alone, as they must not where the user names one by its number.
    """

    devices: tuple[Device, ...]
    slots: tuple[Slot, ...]
    worker_memory: float | None
    worker_gpus: int
    pins: bool

    def refusal(self, asked: int | None = None) -> str:
        """Say in one line why there is no room for `asked` workers, and for how many there is."""
        gpus = count(len(self.devices), "GPU")
        most = f"{max(device.free for device in self.devices):.1f} GiB"
        if not self.slots and self.worker_gpus > 1:
            return f"--clip-worker-gpus {self.worker_gpus}: this run has {gpus} that one worker could see; lower it"
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


def capacity_of(config: pytest.Config) -> Capacity:
    """Resize for GPUs, once a run.

    Raises:
        pytest.UsageError: ``--clip-worker-memory`` is no amount of memory, or ``--clip-worker-gpus`` no number.
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
    """Count the workers of ``-n auto``; None leaves it to xdist, whose environment variable stands before us.

    Raises:
        pytest.UsageError: no GPU has the memory that a worker needs, or the first worker needs more than there are.
    """
    if os.environ.get(AUTO_WORKERS):
        return None
    room = capacity_of(config)
    if not room.devices:
        return cpu_slots(count_cores(), free_memory(), room.worker_memory)
    if not room.slots:
        raise pytest.UsageError(room.refusal())
    return len(room.slots)


def gpus_of(config: pytest.Config) -> list[float]:
    """Return how many GiB this process may use on each of its GPUs: what the controller said, or what is free."""
    said = os.environ.get(GPU_MEMORY)
    if said is not None:
        return [float(memory) for memory in said.split(",")]
    return [device.free for device in capacity_of(config).devices]


def pin(slot: Slot, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that show a worker its devices; numbers are nvidia-smi's unless the user said whose."""
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(device.id for device in slot),
        "CUDA_DEVICE_ORDER": environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
    }


def thread_caps(cores: int, workers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the limits that keep `workers` from using more than `cores` threads in all; the user's own stand.

    The first of them is what the others fall back to, so a user who set it set them all.
    """
    if THREAD_CAPS[0] in environment:
        return {}
    share = str(max(1, cores // max(1, workers)))
    return {name: share for name in THREAD_CAPS if name not in environment}


def count(number: int, thing: str) -> str:
    """Write a number of things.

    >>> count(1, "GPU"), count(2, "GPU")
    ('1 GPU', '2 GPUs')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _devices_for(asked: str) -> list[Device]:
    """List the GPUs that ``--clip-device`` leaves: all for auto and cuda, one for cuda:1, none for the rest."""
    if asked in {"auto", "cuda"}:
        return find_devices()
    kind, _, index = asked.partition(":")
    return find_devices()[int(index) :][:1] if kind == "cuda" and index.isdecimal() else []
