"""CPU cores and memory that are available to this process, including the limits of a container."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
BYTES_PER_GIB = 2**30


def count_cores(cgroup: Path = CGROUP) -> int:
    """Return how many cores this process can use: those of its affinity, or the container's quota if that is less."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def free_memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> float | None:
    """Return the free memory in GiB, or that of the container if it is less; None if the system does not report it."""
    found = []
    for line in _read(meminfo).splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            found.append(int(amount.split()[0]) * 1024 / BYTES_PER_GIB)
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used) + _reclaimable(cgroup)) / BYTES_PER_GIB)
    return min(found, default=None)


def _reclaimable(cgroup: Path) -> int:
    """Return how many bytes of a container's used memory are cached files, which the kernel drops when it must."""
    amounts = dict(line.split(maxsplit=1) for line in _read(cgroup / "memory.stat").splitlines() if " " in line)
    amount = amounts.get("inactive_file", "0")
    return int(amount) if amount.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
