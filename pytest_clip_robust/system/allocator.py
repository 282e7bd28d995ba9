"""Settings of the C library's memory allocator for models on the CPU."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""The numbers of the two settings of glibc's ``mallopt``."""
KEPT = 2**30
"""Bytes of freed memory that a process keeps at most, and the size of a block up to which it is kept."""
OLD_LIMIT = 2**25
"""The largest block that older versions of glibc accept."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for the next tensor; return whether the allocator can be told so.

    glibc returns every large block to the system at once, and the system clears it before it is used again: for a
    convolutional tower that takes a third of the time. It is no more memory than the largest batch needs.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl, for one, has none
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEPT) and (mallopt(MMAP_THRESHOLD, KEPT) or mallopt(MMAP_THRESHOLD, OLD_LIMIT)))
