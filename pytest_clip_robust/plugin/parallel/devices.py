"""The GPUs that the caller may use, asked of nvidia-smi: a controller that asked torch would open a context on each."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FAKE_GPUS = "CLIP_ROBUST_FAKE_GPUS"
"""For tests: the free GiB of GPUs that are not there, such as ``16,16,8``; they are called GPU-fake-0 and so on."""

INSTANCE_ID = "MIG-"
"""How the id of a GPU's instance begins."""

NVIDIA_SMI = "nvidia-smi"
MIB_A_GIB = 1024
PATIENCE = 30.0
"""Seconds for nvidia-smi to answer; a driver that has to wake several GPUs takes some."""

INSTANCE = re.compile(r"\s*MIG (?:\d+c\.)?\d+g\.(?P<gib>\d+)gb.*\(UUID: (?P<uuid>MIG-[^)]+)\)")


@dataclass(frozen=True, slots=True)
class Device:
    """What one worker can be pinned to. `id` stands in CUDA_VISIBLE_DEVICES; `free` is in GiB."""

    id: str
    free: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as nvidia-smi lists it, with its `instances` where it is split (MIG). `free` is in GiB."""

    index: str
    uuid: str
    free: float
    instances: tuple[Device, ...] = ()


def find_devices(environment: Mapping[str, str] = os.environ) -> list[Device]:
    """List the devices within the caller's CUDA_VISIBLE_DEVICES; none without a driver."""
    fake = environment.get(FAKE_GPUS)
    gpus = _ask_nvidia_smi() if fake is None else _fake(fake)
    return visible(gpus, environment.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: Sequence[Gpu], allowed: str | None) -> list[Device]:
    """List the devices that `allowed`, the value of CUDA_VISIBLE_DEVICES, leaves; None leaves all.

    What the caller wrote is kept word for word, so that nobody's restriction is widened: indices, UUIDs or the
    beginning of one, MIG ids. As in CUDA, the first entry that names no device hides those after it.
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
    """Read nvidia-smi's `table` (index, uuid, MiB free, MIG mode; CSV) and the instances in its `listing` (``-L``).

    The free memory of an instance is taken to be what its profile names; that of the GPU says nothing about it.
    """
    instances = _instances(listing)
    gpus = []
    for line in table.splitlines():
        index, uuid, free, split = (field.strip() for field in line.split(","))
        parts = instances.get(uuid, ()) if split == "Enabled" else ()
        # On GPUs without memory of their own nvidia-smi says "[N/A]": they share the machine's.
        gpus.append(Gpu(index, uuid, float(free) / MIB_A_GIB if free.isdecimal() else 0.0, parts))
    return gpus


def _instances(listing: str) -> dict[str, tuple[Device, ...]]:
    """Read which instances each GPU's UUID has."""
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
    """Return the free GiB of what an entry of CUDA_VISIBLE_DEVICES names, or None if that is nothing or not clear."""
    for instance in (instance for gpu in gpus for instance in gpu.instances):
        if instance.id == name:
            return instance.free
    for gpu in gpus:
        if gpu.index == name:
            return _usable(gpu)
    named = [gpu for gpu in gpus if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return _usable(named[0]) if len(named) == 1 else None


def _usable(gpu: Gpu) -> float:
    """Return what a process gets that names the whole GPU: of a split one, its first instance."""
    return gpu.instances[0].free if gpu.instances else gpu.free


def _fake(text: str) -> list[Gpu]:
    return [Gpu(str(i), f"GPU-fake-{i}", float(free)) for i, free in enumerate(filter(None, text.split(",")))]


def _ask_nvidia_smi() -> list[Gpu]:
    table = _run("--query-gpu=index,uuid,memory.free,mig.mode.current", "--format=csv,noheader,nounits")
    return parse_gpus(table, _run("-L") if "Enabled" in table else "")


def _run(*arguments: str) -> str:
    """Return what nvidia-smi prints; nothing where there is none, or no driver that answers."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [NVIDIA_SMI, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
