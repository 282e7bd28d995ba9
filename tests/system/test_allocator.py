"""Freed memory stays with the process, so that the next tensor does not have to be cleared by the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from pytest_clip_robust.system import allocator

FAULTS = """
import resource, sys
import numpy as np
from pytest_clip_robust.system.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory() and keep_freed_memory()

def faults():
    np.ones(2**23)  # 64 MiB, the activations of a batch
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

first = faults()
print((max(faults() for _ in range(10)) - first) * resource.getpagesize() / 2**26)
"""


def glibc():
    """Return whether this is Linux with a glibc that keeps blocks of any size."""
    name, version = platform.libc_ver()
    return sys.platform == "linux" and name == "glibc" and tuple(map(int, version.split(".")[:2])) >= (2, 34)


@pytest.mark.skipif(not glibc(), reason="only glibc 2.34 and newer on Linux keeps large blocks")
def test_memory_is_cleared_once():
    """A process is started, since the setting stays; it prints how many of ten blocks the system had to clear."""
    cleared = {
        how: float(
            subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout
        )
        for how in ("kept", "returned")
    }
    assert cleared["kept"] < 0.5
    # Transparent huge pages have one fault for 2 MiB.
    assert cleared["returned"] > max(10 * cleared["kept"], 0.01)


def test_other_systems_keep_their_allocator(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory.__wrapped__()


def test_a_c_library_without_the_function_is_no_error(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not allocator.keep_freed_memory.__wrapped__()
