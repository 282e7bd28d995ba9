"""Threads of torch, NumPy and their libraries, set by environment variables before these are imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pytest_clip_robust.system.machine import count_cores

THREAD_CAPS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

SPINS, POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
FEW_SPINS = "10000"
"""For how many rounds a thread of GNU's OpenMP, which torch uses on Linux, keeps its core busy while it waits. The
default is so large that threads without a core of their own mostly wait for each other: with one of two cores taken, a
convolutional tower encodes 21 instead of 32 images per second; on idle cores, 88 instead of 78."""


def thread_caps(cores: int, workers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that limits `workers` to `cores` threads in total, without variables that the user set.

    The other libraries fall back to the first variable, so a user who set that one set them all.
    """
    if THREAD_CAPS[0] in environment:
        return {}
    share = str(max(1, cores // max(1, workers)))
    return {name: share for name in THREAD_CAPS if name not in environment}


def waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which threads give their core away soon; empty if the user has set how they wait."""
    return {} if SPINS in environment or POLICY in environment else {SPINS: FEW_SPINS}


def share_the_machine(*, alone: bool = True) -> None:
    """Set both for this process and those that it starts; it has no effect on libraries that are imported already.

    Without a quota on the cores of a container, the number of threads is left to the libraries. A process that only
    starts workers is not `alone`: each of them gets a limit of its own.
    """
    cores = count_cores()
    if alone and cores < _visible_cores():
        os.environ.update(thread_caps(cores, 1, os.environ))
    os.environ.update(waiting(os.environ))


def _visible_cores() -> int:
    """Return the number of cores that libraries see, which do not know the quota of a container."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
