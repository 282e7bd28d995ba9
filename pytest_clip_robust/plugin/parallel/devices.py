"""GPUs that this process can use, as nvidia-smi lists them; asking torch would open a CUDA context on each GPU."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FAKE_GPUS = "CLIP_ROBUST_FAKE_GPUS"
"""Environment variable for tests: the free GiB of pretended GPUs, such as ``16,16,8``, named GPU-fake-0 and so on."""

INSTANCE_ID = "MIG-"
"""The prefix of the id of a GPU instance."""

NVIDIA_SMI = "nvidia-smi"
MIB_PER_GIB = 1024
PATIENCE = 30.0
"""Seconds for nvidia-smi to answer; waking several GPUs takes a while."""

INSTANCE = re.compile(r"\s*MIG (?:\d+c\.)?\d+g\.(?P<gib>\d+)gb.*\(UUID: (?P<uuid>MIG-[^)]+)\)")


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a worker can be pinned to. `id` goes into CUDA_VISIBLE_DEVICES; `free` is in GiB."""

    id: str
    free: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as nvidia-smi lists it, with its `instances` if it is partitioned (MIG). `free` is in GiB."""

    index: str
    uuid: str
    free: float
    instances: tuple[Device, ...] = ()


def find_devices(environment: Mapping[str, str] = os.environ) -> list[Device]:
    """Return the devices in the caller's CUDA_VISIBLE_DEVICES; empty without a driver."""
    fake = environment.get(FAKE_GPUS)
    gpus = _ask_nvidia_smi() if fake is None else _fake(fake)
    return visible(gpus, environment.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: Sequence[Gpu], allowed: str | None) -> list[Device]:
    """Return the devices that `allowed`, the value of CUDA_VISIBLE_DEVICES, names; None allows all.

    Entries are kept word for word, so that no restriction is widened: indices, UUIDs or the beginning of one, MIG ids.
    As in CUDA, the first entry that does not name a device hides those after it.
    """
    if allowed is None:
        return [device for gpu in gpus for device in gpu.instances or (Device(gpu.uuid, gpu.free),)]
    found: list[Device] = []
    for name in (entry.strip() for entry in allowed.split(",")):
        free = _free(gpus, name)
        if free is None:
            break
        if all(device.id != name for device in found):
            found.append(Device(name, free))
    return found


def parse_gpus(table: str, listing: str) -> list[Gpu]:
    """Return the GPUs in nvidia-smi's `table` (CSV: index, uuid, MiB free, MIG mode) and `listing` (``-L``).

    The free memory of an instance is taken from the name of its profile; nvidia-smi only reports that of the GPU.
    """
    instances = _instances(listing)
    gpus = []
    for line in table.splitlines():
        index, uuid, free, split = (field.strip() for field in line.split(","))
        parts = instances.get(uuid, ()) if split == "Enabled" else ()
        # For GPUs that share the machine's memory, nvidia-smi reports "[N/A]".
        gpus.append(Gpu(index, uuid, float(free) / MIB_PER_GIB if free.isdecimal() else 0.0, parts))
    return gpus


def _instances(listing: str) -> dict[str, tuple[Device, ...]]:
    """Return the instances of each GPU, by UUID."""
    found: dict[str, tuple[Device, ...]] = {}
    owner = ""
    for line in listing.splitlines():
        instance = INSTANCE.match(line)
        if instance:
            found[owner] = (*found.get(owner, ()), Device(instance["uuid"], float(instance["gib"])))
        elif gpu := re.match(r"GPU \d+:.*\(UUID: (GPU-[^)]+)\)", line):
            owner = gpu[1]
    return found


def _free(gpus: Sequence[Gpu], name: str) -> float | None:
    """Return the free GiB of the one device that an entry of CUDA_VISIBLE_DEVICES names, else None."""
    for instance in (instance for gpu in gpus for instance in gpu.instances):
        if instance.id == name:
            return instance.free
    for gpu in gpus:
        if gpu.index == name:
            return _usable(gpu)
    named = [gpu for gpu in gpus if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return _usable(named[0]) if len(named) == 1 else None


def _usable(gpu: Gpu) -> float:
    """Return the free GiB of a process that names the whole GPU; on a partitioned one it gets the first instance."""
    return gpu.instances[0].free if gpu.instances else gpu.free


def _fake(text: str) -> list[Gpu]:
    return [Gpu(str(i), f"GPU-fake-{i}", float(free)) for i, free in enumerate(filter(None, text.split(",")))]


def _ask_nvidia_smi() -> list[Gpu]:
    table = _run("--query-gpu=index,uuid,memory.free,mig.mode.current", "--format=csv,noheader,nounits")
    return parse_gpus(table, _run("-L") if "Enabled" in table else "")


def _run(*arguments: str) -> str:
    """Return the output of nvidia-smi; empty if it is not installed or the driver does not answer."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [NVIDIA_SMI, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
