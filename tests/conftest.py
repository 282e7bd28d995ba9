from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pytest_clip_robust.system.machine import count_cores, free_memory

# Machines that run tests are shared: a slow example does not mean that the code is slow.
settings.register_profile("no-deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-deadline")

pytest_plugins = ["pytester", "cpu_report"]

GIB_OF_A_WORKER = 2.5

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and published numbers, which is next to the checkout and never part of it."""
    folder = Path(os.environ.get("CLIP_ROBUST_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; set CLIP_ROBUST_SHARED to run this test")
    return folder


def pytest_xdist_auto_num_workers(config):
    """Return one worker per core, if each has the memory for torch, transformers and what it forks."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    memory = free_memory()
    return count_cores() if memory is None else max(1, min(count_cores(), int(memory / GIB_OF_A_WORKER)))


def pytest_configure(config):
    """Share the cores between the workers of this run: torch and NumPy start as many threads as there are cores."""
    workers = getattr(config, "workerinput", {}).get("workercount")
    if workers is not None:
        threads = str(max(1, count_cores() // workers))
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, threads)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    """Keep what was imported from slowing every test: a million objects in collections, hundreds of torch's loggers."""
    gc.freeze()
    if session.config.pluginmanager.has_plugin("logging-plugin"):
        session.config.pluginmanager.unregister(name="logging-plugin")


@pytest.fixture
def logged():
    """The messages that reach the root logger, as `caplog` has them, which needs pytest's plugin."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    yield messages
    logging.getLogger().removeHandler(handler)


@pytest.fixture(autouse=True)
def _environment_of_a_lone_run(monkeypatch):
    """Remove what runs inside of tests would take for theirs: cache, width of the terminal, worker of this run."""
    for name in (
        "XDG_CACHE_HOME",
        "COLUMNS",
        "PYTEST_XDIST_WORKER",
        "PYTEST_XDIST_WORKER_COUNT",
        "PYTEST_XDIST_TESTRUNUID",
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
    ):
        monkeypatch.delenv(name, raising=False)
