from __future__ import annotations

import time

from filelock import FileLock

from pytest_clip_robust.system.lock import hold_lock


def test_the_wait_for_a_lock_is_limited(tmp_path):
    with FileLock(tmp_path / "held"):
        started = time.monotonic()
        with hold_lock(tmp_path / "held", limit=0.05):
            assert time.monotonic() - started < 5


def test_work_goes_on_without_a_folder_for_the_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with hold_lock(tmp_path / "file" / "lock", limit=0.05):
        pass
