"""Whose turn it is: workers of one run that lack the same features wait for the one that is encoding them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 600.0
"""Seconds to wait for another; then both encode, which costs time alone."""


@contextlib.contextmanager
def turn(file: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold `file`, which the system takes from a process that dies; go on without where it cannot be had."""
    lock = FileLock(file)
    with contextlib.suppress(Timeout, OSError):
        lock.acquire(timeout=patience)
    try:
        yield
    finally:
        lock.release()
