"""Locks between processes, as lock files, with a message during a long wait and a limit for it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_clip_robust.system.notice import Notice, log_notice

NOTICE_SECONDS = 10.0
"""Shorter waits are not announced."""


def private_folder() -> Path:
    """Return this user's folder for lock files in the folder for temporary files; it is made if it does not exist.

    Its name can be guessed, so it counts only if it is a folder of this user that other users cannot write: a link that
    another user put there would lead a lock into any file of this user.

    Raises:
        OSError: it cannot be made, or is not such a folder.
    """
    folder = Path(tempfile.gettempdir(), f"pytest-clip-robust-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} is not a folder that only this user can write; remove it, or set TMPDIR")
    return folder


@contextmanager
def hold_lock(
    file: Path, *, activity: str, limit: float = 600.0, required: bool = True, notice: Notice = log_notice
) -> Iterator[None]:
    """Hold an exclusive lock on `file`; the operating system releases the lock of a process that dies.

    activity: what the other process does that holds the lock, for messages, such as ``"writes baselines"``.
    limit: seconds to wait. required: if False, the work continues without the lock, with a notice.

    Raises:
        TimeoutError: another process still holds the lock after `limit` seconds.
        OSError: the lock file cannot be created.
    """
    lock = FileLock(file)
    try:
        _acquire(lock, file, activity, limit, notice)
    except OSError as error:
        if required:
            raise
        notice(f"continuing without a lock: {error}")
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, file: Path, activity: str, limit: float, notice: Notice) -> None:
    try:
        try:
            lock.acquire(timeout=min(limit, NOTICE_SECONDS))
        except Timeout:
            if limit <= NOTICE_SECONDS:
                raise
            notice(f"waiting up to {limit:g} s for another process, which {activity} (lock file {file})")
            lock.acquire(timeout=limit - NOTICE_SECONDS)
    except Timeout:
        raise TimeoutError(
            f"another process, which {activity}, has held the lock file {file} for more than {limit:g} s: "
            "end that process, or remove the file"
        ) from None
    except (OSError, NotImplementedError) as error:  # filelock raises the latter for file systems without locks
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"the lock file {file} cannot be created ({reason})") from error
