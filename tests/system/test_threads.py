"""Threads leave room for other processes, and for the limits of a container."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_clip_robust.system import threads
from pytest_clip_robust.system.threads import FEW_SPINS, THREAD_CAPS, share_the_machine, thread_caps, waiting


def test_threads_are_shared_out_and_the_user_s_own_caps_stand():
    assert thread_caps(8, 3, {}) == dict.fromkeys(THREAD_CAPS, "2")
    assert thread_caps(2, 4, {}) == dict.fromkeys(THREAD_CAPS, "1")
    assert set(thread_caps(8, 3, {"MKL_NUM_THREADS": "5"})) == {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert thread_caps(8, 3, {"OMP_NUM_THREADS": "5"}) == {}


def test_a_way_of_waiting_that_the_user_set_is_left_alone():
    assert waiting({}) == {"GOMP_SPINCOUNT": FEW_SPINS}
    assert waiting({"GOMP_SPINCOUNT": "5"}) == {}
    assert waiting({"OMP_WAIT_POLICY": "ACTIVE"}) == {}


@pytest.mark.parametrize(("quota", "expected"), [(1, "1"), (8, None)])
def test_a_quota_on_cores_limits_the_threads(monkeypatch, quota, expected):
    monkeypatch.setattr(threads.os, "environ", {})
    monkeypatch.setattr(threads, "count_cores", lambda: quota)
    monkeypatch.setattr(threads, "_visible_cores", lambda: 8)
    share_the_machine()
    assert [threads.os.environ.get(name) for name in THREAD_CAPS] == [expected] * len(THREAD_CAPS)
    assert threads.os.environ["GOMP_SPINCOUNT"] == FEW_SPINS


def test_a_process_that_starts_workers_leaves_the_limit_to_them(monkeypatch):
    monkeypatch.setattr(threads.os, "environ", {})
    monkeypatch.setattr(threads, "count_cores", lambda: 2)
    monkeypatch.setattr(threads, "_visible_cores", lambda: 8)
    share_the_machine(alone=False)
    assert threads.os.environ == {"GOMP_SPINCOUNT": FEW_SPINS}


def test_nothing_heavy_is_imported():
    code = "import sys, pytest_clip_robust.system.threads; print('torch' in sys.modules or 'numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"
