"""A file lock between processes that never blocks a run for ever."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LIMIT_SECONDS = 600.0
"""How long to wait for another process."""


@contextlib.contextmanager
def hold_lock(file: Path, *, limit: float = LIMIT_SECONDS) -> Iterator[None]:
    """Hold an exclusive lock on `file`; continue without it after `limit` seconds, or if the file cannot be created.

    The operating system releases the lock of a process that dies.
    """
    lock = FileLock(file)
    with contextlib.suppress(Timeout, OSError):
        lock.acquire(timeout=limit)
    try:
        yield
    finally:
        lock.release()
