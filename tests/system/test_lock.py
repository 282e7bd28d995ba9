from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from filelock import FileLock

from pytest_clip_robust.system import lock as lock_module
from pytest_clip_robust.system.lock import hold_lock, private_folder

HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def notices():
    return []


@pytest.fixture
def held(tmp_path):
    """Return a lock file that another holder has locked."""
    lock = FileLock(tmp_path / "held.lock")
    with lock:
        yield tmp_path / "held.lock"


def test_a_free_lock_is_held_without_a_notice(tmp_path, notices):
    with hold_lock(tmp_path / "free.lock", activity="measures", limit=1, notice=notices.append):
        other = FileLock(tmp_path / "free.lock")
        with pytest.raises(TimeoutError):
            other.acquire(timeout=0.01)
    other.acquire(timeout=1)
    other.release()
    assert notices == []


def test_a_long_wait_is_announced_and_ends_when_the_lock_is_released(tmp_path, notices, monkeypatch):
    monkeypatch.setattr(lock_module, "NOTICE_SECONDS", 0.05)
    other = FileLock(tmp_path / "held.lock", thread_local=False)
    other.acquire()
    timer = threading.Timer(0.3, other.release)
    timer.start()
    started = time.monotonic()
    with hold_lock(tmp_path / "held.lock", activity="encodes the same prompts", limit=60, notice=notices.append):
        assert 0.2 < time.monotonic() - started < 30
    timer.join()
    assert notices == [
        f"waiting up to 60 s for another process, which encodes the same prompts (lock file {tmp_path / 'held.lock'})"
    ]


def test_a_lock_that_is_not_released_is_an_error_of_one_line(held, notices):
    with (
        pytest.raises(TimeoutError) as error,
        hold_lock(held, activity="writes baselines", limit=0.05, notice=notices.append),
    ):
        pytest.fail("the lock is held by another process")
    assert str(error.value) == (
        f"another process, which writes baselines, has held the lock file {held} for more than 0.05 s: "
        "end that process, or remove the file"
    )


def test_work_continues_without_an_optional_lock(held, notices):
    with hold_lock(held, activity="encodes the same prompts", limit=0.05, required=False, notice=notices.append):
        entered = True
    assert entered
    (line,) = notices
    assert line.startswith("continuing without a lock: another process, which encodes the same prompts, has held ")


def test_a_lock_file_that_cannot_be_created_is_named(tmp_path, notices):
    (tmp_path / "file").write_text("")
    file = tmp_path / "file" / "some.lock"
    with pytest.raises(OSError, match=f"the lock file {file} cannot be created") as error, hold_lock(file, activity=""):
        pytest.fail("there is no lock")
    assert "\n" not in str(error.value)
    with hold_lock(file, activity="", required=False, notice=notices.append):
        entered = True
    assert entered
    assert len(notices) == 1


def test_the_system_releases_the_lock_of_a_killed_process(tmp_path, notices):
    file = tmp_path / "held.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError), hold_lock(file, activity="", limit=0.05):
            pytest.fail("the process holds the lock")
        process.kill()
    with hold_lock(file, activity="", limit=5, notice=notices.append):
        pass
    assert notices == []


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, TimeoutError])
def test_an_error_of_the_work_is_passed_on_and_the_lock_released(tmp_path, error):
    for required in (True, False):
        with pytest.raises(error), hold_lock(tmp_path / "some.lock", activity="", required=required):
            raise error
        with FileLock(tmp_path / "some.lock", timeout=1):
            pass


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"pytest-clip-robust-{os.getuid()}"


def test_the_folder_of_locks_is_this_users_alone(temporary):
    before = os.umask(0)
    try:
        assert private_folder() == temporary
    finally:
        os.umask(before)
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    assert private_folder() == temporary


@pytest.mark.parametrize("kind", ["link", "open", "file", "dangling link"])
def test_a_folder_of_locks_that_others_can_change_is_refused(temporary, tmp_path, kind):
    (tmp_path / "mine").mkdir()
    if kind == "open":
        temporary.mkdir()
        temporary.chmod(0o777)
    elif kind == "file":
        temporary.touch()
    else:
        temporary.symlink_to(tmp_path / ("mine" if kind == "link" else "nothing"))
    with pytest.raises(OSError, match="is not a folder that only this user can write; remove it, or set TMPDIR"):
        private_folder()
    assert not list((tmp_path / "mine").iterdir())
