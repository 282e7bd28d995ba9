"""What this machine grants a run: CPU cores and memory, within the limits of a container."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
BYTES_A_GIB = 2**30


def count_cores(cgroup: Path = CGROUP) -> int:
    """Count the cores this process may use: its affinity, or the container's quota where that is less."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def free_memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> float | None:
    """Return the free GiB of RAM, or of the container where that is less; None where the system does not say."""
    found = []
    for line in _read(meminfo).splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            found.append(int(amount.split()[0]) * 1024 / BYTES_A_GIB)
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used)) / BYTES_A_GIB)
    return min(found, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
