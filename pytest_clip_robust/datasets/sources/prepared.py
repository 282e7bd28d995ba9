"""Folders in which `datasets` prepares files: the cache, or a temporary folder if that is full or read-only."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def prepare(load: Callable[[str | None], Any], cache_dir: str | None) -> Any:
    """Return the result of `load` with `cache_dir`, or with a temporary folder if `cache_dir` cannot be written.

    Files that are prepared already need a writable folder as well: `datasets` writes locks there.

    Raises:
        Exception: any error of `load` that is not about a folder that cannot be written.
    """
    try:
        return load(cache_dir)
    except Exception as error:
        if cache_dir is None or not _cannot_be_written(error):
            raise
    return load(_spare_folder().name)


def _cannot_be_written(error: BaseException | None) -> bool:
    """Return whether a disk caused `error`; the check that `datasets` makes beforehand has no error number."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in UNWRITABLE or "disk space" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@cache
def _spare_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="pytest-clip-robust-data-", ignore_cleanup_errors=True)
