"""The Ray engine: jobs are cut into blocks, which workers of a cluster encode."""

from __future__ import annotations

import os
import pickle
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pytest_clip_robust.encoding.cluster.connection import Connection
from pytest_clip_robust.encoding.cluster.plan import WorkerPlan, plan_workers
from pytest_clip_robust.encoding.cluster.pool import START_SECONDS, WorkerPool
from pytest_clip_robust.encoding.cluster.sending import without_weights
from pytest_clip_robust.encoding.cluster.worker import WorkerSettings
from pytest_clip_robust.encoding.engines.base import EncodedBatch, Job
from pytest_clip_robust.encoding.engines.blocks import cut
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import one_line


class RayEngine:
    """Encodes on the workers of a Ray cluster; an `Engine`.

    Nothing is sent but names and digests: each worker loads the model by its spec and reads the images itself, so
    checkpoints and data have the same paths on all machines. Features come back and are stored by the caller. On CPUs,
    they are those of a LocalEngine with as many threads, bit for bit, for any number of workers.

    address: of a cluster, else that of the environment variable RAY_ADDRESS, else a cluster is started here when the
        first job comes. device: as ``--clip-device`` names it. batch_size, workers: as in `LocalEngine`.
    pixels, pixel_bytes: folder and size of each machine's pixel cache, None for none.
    start_seconds: how long a job waits until a worker starts.
    """

    def __init__(
        self,
        address: str = "",
        *,
        device: str = "auto",
        batch_size: int | None = None,
        workers: int | None = None,
        pixels: Path | None = None,
        pixel_bytes: int = 0,
        start_seconds: float = START_SECONDS,
        notice: Notice = log_notice,
    ) -> None:
        """Set how jobs are run; nothing is started yet."""
        self._address, self._device = address, device
        self._batch_size, self._workers = batch_size, workers
        self._pixels, self._pixel_bytes = pixels, pixel_bytes
        self._start_seconds, self._notice = start_seconds, notice
        self._connection: Connection | None = None
        self._pool: WorkerPool | None = None

    def encode(self, job: Job, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once; see Engine.

        Raises:
            ConfigError: also if the cluster cannot be reached, has no room for a worker, or loses too many.
        """
        if self._connection is None:
            self._connection = Connection(self._address)
        ray, threads = self._connection.ray, torch.get_num_threads()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        plan = plan_workers(self._device, nodes, threads=threads)
        pool = self._pool_for(plan, ray)
        parts = cut(job, workers=plan.most, batch_size=self._batch_size, on_cpu=plan.device == "cpu")
        try:
            reference = ray.put(without_weights(job))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ConfigError(f"--clip-engine ray: the job cannot be sent to workers ({one_line(error)})") from error
        for block in pool.run(uuid.uuid4().hex, reference, parts, plan):
            for line in block.notices:
                self._notice(line)
            yield from block.batches

    def close(self) -> None:
        """End the workers and the connection; the next job opens them again."""
        if self._pool is not None:
            self._pool.close()
        if self._connection is not None:
            self._connection.close()
        self._pool = self._connection = None

    def _pool_for(self, plan: WorkerPlan, ray: Any) -> WorkerPool:
        """Return the pool of earlier jobs, or another one if the cluster has got other nodes."""
        settings = self._settings(plan)
        if self._pool is None or self._pool.settings != settings:
            if self._pool is not None:
                self._pool.close()
            self._pool = WorkerPool(ray, settings, start_seconds=self._start_seconds, notice=self._notice)
        return self._pool

    def _settings(self, plan: WorkerPlan) -> WorkerSettings:
        workers = plan.cpus if self._workers is None and plan.gpus else self._workers
        return WorkerSettings(
            device=plan.device,
            threads=plan.cpus,
            batch_size=self._batch_size,
            workers=workers,
            pixels=self._pixels,
            pixel_bytes=self._pixel_bytes,
            folder=os.getcwd(),  # noqa: PTH109 - a plain text, also if the folder was removed
            paths=tuple(path for path in sys.path if path),
        )
