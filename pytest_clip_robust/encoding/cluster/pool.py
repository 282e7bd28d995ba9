"""The pool: starts workers where the cluster has room, gives them blocks, and repeats the blocks of lost workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from pytest_clip_robust import __version__
from pytest_clip_robust.encoding.cluster.plan import WorkerPlan
from pytest_clip_robust.encoding.cluster.worker import EncodedBlock, Worker, WorkerSettings
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import one_line

AHEAD = 2
"""Blocks that a worker has at once, so that it never waits for this process."""

LOSSES = 3
"""After so many lost workers, the block itself is the likely cause."""

START_SECONDS = 180.0
POLL_SECONDS = 1.0


class WorkerPool:
    """Workers of a cluster; they keep their models from one job to the next."""

    def __init__(
        self,
        ray: Any,
        settings: WorkerSettings,
        *,
        start_seconds: float = START_SECONDS,
        notice: Notice = log_notice,
    ) -> None:
        """Use the connected `ray`; if no worker starts within `start_seconds`, a job fails instead of waiting."""
        self._notice = notice
        self.settings = settings
        self._ray, self._limit = ray, start_seconds
        self._starting: dict[Any, Any] = {}
        self._ready: list[Any] = []
        self._failed_starts = 0

    def run(self, name: str, reference: Any, parts: Sequence[slice], plan: WorkerPlan) -> Iterator[EncodedBlock]:
        """Yield every block of the job called `name`, which `reference` holds, as it is done.

        After an error, no block is begun, and those that were are yielded before. If the caller ends early, workers
        that still encode are killed.

        Raises:
            ConfigError: no worker starts, or a block lost `LOSSES` workers.
            ClipRobustError: a block failed.
        """
        waiting, running, lost = deque(parts), dict[Any, tuple[Any, slice]](), Counter[int]()
        failure: Exception | None = None
        alive = monotonic()
        try:
            while running or (waiting and failure is None):
                if failure is None:
                    self._grow(min(plan.most, len(waiting) + len(running)), plan)
                    self._give(waiting, running, name, reference)
                done, _ = self._ray.wait([*running, *self._starting], num_returns=1, timeout=POLL_SECONDS)
                for one in done:
                    if one in self._starting:
                        self._welcome(one)
                        continue
                    worker, part = running.pop(one)
                    block = self._result(one)
                    if isinstance(block, EncodedBlock):
                        failure = failure or block.error
                        yield block
                        continue
                    self._end(worker)
                    self._notice(f"a worker of Ray was lost, and its work is done again: {_first_line(block)}")
                    lost[part.start] += 1
                    waiting.appendleft(part)
                    if lost[part.start] >= LOSSES:
                        failure = failure or _lost_again(part, block)
                alive = monotonic() if self._ready else alive
                if failure is None and monotonic() - alive > self._limit:
                    raise self._no_worker(plan)
            if failure is not None:
                raise failure
        finally:
            for worker, _ in running.values():
                self._end(worker)

    def close(self) -> None:
        """Kill all workers."""
        for worker in [*self._ready, *self._starting.values()]:
            self._end(worker)

    def _grow(self, wanted: int, plan: WorkerPlan) -> None:
        """Start workers up to `wanted`; those for which the cluster has no room start when it has."""
        for _ in range(wanted - len(self._ready) - len(self._starting)):
            worker = self._ray.remote(Worker).options(num_cpus=plan.cpus, num_gpus=plan.gpus).remote(self.settings)
            self._starting[worker.version.remote()] = worker

    def _welcome(self, one: Any) -> None:
        """Take a worker that has started into the pool.

        Raises:
            ConfigError: it has another version of this package, or several could not start, such as without it.
        """
        worker = self._starting.pop(one)
        try:
            machine, version = self._ray.get(one)
        except self._ray.exceptions.RayActorError as error:
            self._failed_starts += 1
            if self._failed_starts < LOSSES:
                return  # its machine may have been lost meanwhile
            reason = one_line(str(error).strip().splitlines()[-1])
            raise ConfigError(
                f"--clip-engine ray: {LOSSES} workers in a row ended before they could start ({reason}); install "
                f"pytest-clip-robust[ray] {__version__} on every node"
            ) from error
        if version != __version__:
            self._end(worker)
            raise ConfigError(
                f"--clip-engine ray: the node {machine} has pytest-clip-robust {version}, and this machine "
                f"{__version__}; install one version everywhere"
            )
        self._failed_starts = 0
        self._ready.append(worker)

    def _give(self, waiting: deque[slice], running: dict[Any, tuple[Any, slice]], name: str, reference: Any) -> None:
        """Send waiting blocks to the workers that have the fewest."""
        for most in range(1, AHEAD + 1):
            for worker in self._ready:
                has = sum(one is worker for one, _ in running.values())
                if waiting and has < most:
                    part = waiting.popleft()
                    running[worker.encode.remote(name, [reference], part)] = (worker, part)

    def _result(self, one: Any) -> EncodedBlock | Exception:
        """Return a block, or why its worker was lost; an exception in the worker's code is raised."""
        try:
            block: EncodedBlock = self._ray.get(one)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            lost: Exception = error
            return lost
        return block

    def _end(self, worker: Any) -> None:
        self._ready = [one for one in self._ready if one is not worker]
        self._starting = {one: starting for one, starting in self._starting.items() if starting is not worker}
        self._ray.kill(worker)

    def _no_worker(self, plan: WorkerPlan) -> ConfigError:
        free, whole = self._ray.available_resources(), self._ray.cluster_resources()
        named = [name for name in ("CPU", "GPU") if name == "CPU" or plan.gpus]
        found = " and ".join(f"{free.get(one, 0):g} of {whole.get(one, 0):g} {one}s" for one in named)
        return ConfigError(
            f"--clip-engine ray: no worker has started for {self._limit:g} s; each needs {plan.needs} on one node, and "
            f"the cluster has {found} free: end its other jobs, or add a node"
        )


def _lost_again(part: slice, error: Exception) -> ConfigError:
    return ConfigError(
        f"--clip-engine ray: {LOSSES} workers were lost while they encoded the same {part.stop - part.start} samples "
        f"({_first_line(error)}): give nodes more memory, or try a smaller --clip-batch-size"
    )


def _first_line(error: Exception) -> str:
    return one_line(next(iter(str(error).strip().splitlines()), type(error).__name__))
