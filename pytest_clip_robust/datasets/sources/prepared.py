"""Where `datasets` prepares files: the cache, or for a while a temporary folder where that is full or read-only."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def prepare(load: Callable[[str | None], Any], cache_dir: str | None) -> Any:
    """Return what `load` makes of a folder to prepare files in, of `cache_dir` first.

    Even what is prepared already cannot be read from a folder without writing locks there.

    Raises:
        Exception: whatever `load` raises, but for a folder that cannot be written.
    """
    try:
        return load(cache_dir)
    except Exception as error:
        if cache_dir is None or not _cannot_be_written(error):
            raise
    return load(_spare_folder().name)


def _cannot_be_written(error: BaseException | None) -> bool:
    """Tell whether a disk is behind `error`; what `datasets` finds out beforehand has no number."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in UNWRITABLE or "disk space" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@cache
def _spare_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is gone when the process ends."""
    return tempfile.TemporaryDirectory(prefix="pytest-clip-robust-data-", ignore_cleanup_errors=True)
