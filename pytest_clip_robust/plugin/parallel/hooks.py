"""Hooks of pytest-xdist for runs that name a model; imported only in runs with workers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.plugin.gpu import gpu_need
from pytest_clip_robust.plugin.items import model_label, short_name
from pytest_clip_robust.plugin.keys import RUN, TURNS
from pytest_clip_robust.plugin.parallel.capacity import GPU_MEMORY, capacity_of, count, pin
from pytest_clip_robust.plugin.parallel.grouping import Group, Need, group_tests
from pytest_clip_robust.plugin.parallel.scheduler import GroupScheduling
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.machine import count_cores
from pytest_clip_robust.system.threads import thread_caps

NEEDS = "clip_robust_needs"
"""The entry of xdist's `workerinput` that names the file in which workers write what each test needs.

The controller only sees node ids, and no channel is open that early.
"""

SECONDS = "clip-robust/seconds"
"""The key in pytest's cache of the duration of each test in its last parallel run."""


def start(config: pytest.Config) -> None:
    """Register the controller's part or the worker's part, if xdist is active in this process."""
    given = getattr(config, "workerinput", None)
    if given is not None and NEEDS in given:
        config.pluginmanager.register(NeedsWriter(config, Path(given[NEEDS])), "clip-robust-needs")
    elif given is None and config.getoption("tx", None) and config.getoption("dist") != "no":
        config.pluginmanager.register(ParallelRun(config), "clip-robust-parallel")


class NeedsWriter:
    """Part of a worker: writes what each test needs, before the first is scheduled."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._run = config.stash[RUN]
        self._path = path

    @pytest.hookimpl(tryfirst=True)  # before xdist tells the controller that collection is over
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the needs of all tests; every worker writes the same file, whole."""
        needs = {item.nodeid: asdict(need) for item in session.items if (need := needs_of(item, self._run)).matters}
        write_whole(self._path, json.dumps(needs).encode())


class ParallelRun:
    """Part of the controller: pins workers, schedules groups and stores the duration of tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._run = config.stash[RUN]
        self._folder = tempfile.TemporaryDirectory(prefix="pytest-clip-robust-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name) / "needs.json"
        self._workers = 0
        self._scheduler: GroupScheduling | None = None

    @pytest.hookimpl(tryfirst=True)  # before xdist writes how many workers it created
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        """Put each worker's devices and number of threads into its environment, which a replacement inherits.

        Raises:
            pytest.UsageError: more workers than fit on the GPUs.
        """
        self._workers = len(specs)
        local = [spec for spec in specs if spec.popen]  # workers on other machines are not pinned
        unpinned = [spec for spec in local if "CUDA_VISIBLE_DEVICES" not in spec.env]
        capacity = capacity_of(config)
        if capacity.devices and len(unpinned) > len(capacity.slots):
            raise pytest.UsageError(capacity.refusal(len(unpinned)))
        for spec, slot in zip(unpinned, capacity.slots, strict=False):
            spec.env[GPU_MEMORY] = ",".join(f"{device.free:.3f}" for device in slot)
            spec.env.update(pin(slot, os.environ) if capacity.pins else {})
        cores = count_cores()
        caps = thread_caps(cores, len(local), os.environ)
        for spec in local:
            spec.env.update({name: cap for name, cap in caps.items() if name not in spec.env})
        used = {device.id for slot in capacity.slots[: len(unpinned)] for device in slot}
        self._announce(count(len(used), "GPU") if used else count(cores, "core"), caps)

    def pytest_configure_node(self, node: Any) -> None:
        """Send a local worker the path of the file for its tests' needs and the folder of the shared lock files."""
        if node.gateway.spec.popen:
            node.workerinput[NEEDS] = str(self._path)
            node.workerinput[TURNS] = self._folder.name

    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> GroupScheduling | None:
        """Return the scheduler of groups, unless the user chose one with ``--dist``."""
        if config.known_args_namespace.dist != "no" or config.known_args_namespace.distload:
            return None
        self._scheduler = GroupScheduling(self._workers, self._group, gpus=_gpus)
        return self._scheduler

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Inform the scheduler which tests completed their call."""
        if self._scheduler is not None and report.when == "call" and not report.skipped:
            self._scheduler.note_ran(report.nodeid)

    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> None:
        """Record a test whose worker died as an error."""
        need = self._needs().get(crashitem)
        if need is not None and need.model:
            line = f"{report.longrepr}; out of memory? See --clip-batch-size and --clip-worker-memory"
            report.clip_records = [record_error(line, model=need.model, measurement=need.title, test=crashitem)]

    def pytest_sessionfinish(self) -> None:
        """Store the duration of tests, which orders the next run."""
        cache = getattr(self._config, "cache", None)
        if cache is not None and self._scheduler is not None and self._scheduler.seconds:
            rounded = {nodeid: round(seconds, 3) for nodeid, seconds in self._scheduler.seconds.items()}
            cache.set(SECONDS, {**_last_seconds(self._config), **rounded})

    def pytest_unconfigure(self) -> None:
        """Remove the folder of the needs file and the lock files."""
        self._folder.cleanup()

    def _group(self, nodeids: Sequence[str]) -> list[Group]:
        reference = "" if self._run.reference is None else self._run.reference.label
        return group_tests(nodeids, self._needs(), _last_seconds(self._config), reference=reference)

    def _needs(self) -> dict[str, Need]:
        """Return what workers wrote; workers on other machines write nothing."""
        if not self._path.exists():
            return {}
        read = json.loads(self._path.read_text(encoding="utf-8"))
        return {nodeid: Need.from_plain(need) for nodeid, need in read.items()}

    def _announce(self, places: str, caps: Mapping[str, str]) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None and terminal.verbosity >= 0:
            threads = f", {count(int(next(iter(caps.values()))), 'thread')} each" if caps else ""
            terminal.write_line(f"clip-robust: {count(self._workers, 'worker')} on {places}{threads}")


def needs_of(item: pytest.Item, run: RunConfig) -> Need:
    """Return what a test's parameters and fixtures show that it needs: its model, and every data set they name."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    sets = {value for value in parameters.values() if isinstance(value, str) and value in run.profile.data}
    fixtures = getattr(item, "fixturenames", ())
    # A set has many times more corrupted images than clean ones, so only the corrupted set decides where the test runs.
    if "corruption" not in parameters:
        if "id_set" in fixtures:
            sets.update(run.profile.sets("id")[:1])
        if "ood_groups" in fixtures:
            sets.update(run.profile.sets("ood"))
    label = model_label(item)
    try:
        gpu = gpu_need(item)
    except ConfigError:
        gpu = None  # the test itself reports why
    return Need(model=label, sets=tuple(sorted(sets)), title=short_name(item.name, label), gpu=gpu)


def _gpus(node: Any) -> list[float] | None:
    """Return the GiB that a worker can use on each of its GPUs; None if it is not pinned."""
    assigned = node.gateway.spec.env.get(GPU_MEMORY)
    return None if assigned is None else [float(memory) for memory in assigned.split(",")]


def _last_seconds(config: pytest.Config) -> dict[str, float]:
    cache = getattr(config, "cache", None)
    kept = {} if cache is None else cache.get(SECONDS, {})
    if not isinstance(kept, dict):
        return {}
    return {str(nodeid): float(seconds) for nodeid, seconds in kept.items() if isinstance(seconds, int | float)}
