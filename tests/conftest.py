from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines that run tests are shared: a slow example says nothing about the code.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and golden numbers, kept beside the checkout and never part of it."""
    folder = Path(os.environ.get("CLIP_ROBUST_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; set CLIP_ROBUST_SHARED to run this test")
    return folder


@pytest.fixture(autouse=True)
def _nobodys_cache(monkeypatch):
    """Runs inside of tests have a home of their own, whose cache this variable would replace by the user's."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
