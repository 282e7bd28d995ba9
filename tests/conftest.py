from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines that run tests are shared: a slow example does not mean that the code is slow.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and published numbers, which is next to the checkout and never part of it."""
    folder = Path(os.environ.get("CLIP_ROBUST_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; set CLIP_ROBUST_SHARED to run this test")
    return folder


@pytest.fixture(autouse=True)
def _no_user_cache(monkeypatch):
    """Remove a variable with which runs inside of tests would use the user's cache instead of that of their home."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
