"""The worker: a process of the cluster that loads models and encodes blocks of jobs.

This module imports nothing heavy, because threads are set by environment variables before torch is imported.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clip_robust import __version__
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.system.threads import THREAD_CAPS, waiting

if TYPE_CHECKING:
    from pytest_clip_robust.encoding.engines.base import EncodedBatch, Job
    from pytest_clip_robust.encoding.engines.local import LocalEngine
    from pytest_clip_robust.models.protocols import LoadedModel

KEPT_MODELS = 2
"""The model under test and its reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The settings of a worker process.

    device: ``"cpu"`` or ``"cuda"``. threads: of torch. batch_size, workers: as in `LocalEngine`.
    pixels: the folder of the pixel cache, None for no cache, and pixel_bytes: its size.
    folder, paths: this process's working directory and import paths, for models that are named relative to them.
    """

    device: str
    threads: int
    batch_size: int | None = None
    workers: int | None = None
    pixels: Path | None = None
    pixel_bytes: int = 0
    folder: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """The batches of a block, lines for the user, and the error that ended it, or None."""

    batches: list[EncodedBatch]
    notices: list[str] = field(default_factory=list)
    error: ClipRobustError | None = None


class Worker:
    """Encodes with the local engine; the models and the job that were used last stay in memory."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Prepare the process; nothing is loaded before the first block."""
        os.environ.update(dict.fromkeys(THREAD_CAPS, str(settings.threads)))
        os.environ.update(waiting(os.environ))
        if settings.folder and Path(settings.folder).is_dir():
            os.chdir(settings.folder)
        sys.path.extend(path for path in settings.paths if path not in sys.path)
        self._settings = settings
        self._notices: list[str] = []
        self._models: OrderedDict[tuple[str, ...], LoadedModel] = OrderedDict()
        self._job: tuple[str, Job, list[str]] | None = None
        self._made: LocalEngine | None = None

    def version(self) -> tuple[str, str]:
        """Return the name of this machine, and the version of this package on it."""
        return platform.node(), __version__

    def encode(self, name: str, reference: list[Any], part: slice) -> EncodedBlock:
        """Encode the samples of `part`, in order, of the job called `name`, which is read once from `reference`.

        Batches that were encoded before an error are returned with it.
        """
        from pytest_clip_robust.encoding.engines.base import part_of  # noqa: PLC0415 - see above

        batches: list[EncodedBatch] = []
        error = None
        try:
            job, digests = self._read(name, reference)
            batches.extend(self._engine().encode(part_of(job, digests[part])))
        except ClipRobustError as raised:
            error = raised
        notices, self._notices[:] = list(self._notices), []
        return EncodedBlock(batches, notices, error)

    def _read(self, name: str, reference: list[Any]) -> tuple[Job, list[str]]:
        """Return the job with its model, and the digests of its samples in order."""
        if self._job is None or self._job[0] != name:
            from pytest_clip_robust.encoding.cluster.sending import with_model  # noqa: PLC0415
            from pytest_clip_robust.encoding.engines.blocks import in_order  # noqa: PLC0415

            self._job = None
            job = importlib.import_module("ray").get(reference[0])
            self._job = (name, with_model(job, self._model(job.model)), in_order(job))
        return self._job[1], self._job[2]

    def _model(self, wanted: LoadedModel) -> LoadedModel:
        """Return the model that a job names.

        Raises:
            ModelError: it cannot be loaded, or is not the same on this machine.
        """
        key = (str(wanted.spec), wanted.weights, wanted.precision, str(wanted.compiled))
        if key not in self._models:
            self._models[key] = self._load(wanted)
            while len(self._models) > KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def _load(self, wanted: LoadedModel) -> LoadedModel:
        import torch  # noqa: PLC0415 - takes seconds

        from pytest_clip_robust.encoding.cluster.sending import check_identity  # noqa: PLC0415
        from pytest_clip_robust.models.loading import load_unchecked  # noqa: PLC0415
        from pytest_clip_robust.models.protocols import AnswersQuestions  # noqa: PLC0415

        torch.set_num_threads(self._settings.threads)
        loaded = load_unchecked(
            wanted.spec, device=self._settings.device, precision=wanted.precision, compiled=wanted.compiled
        )
        check_identity(wanted, loaded, where=f"the Ray node {platform.node()}")
        if isinstance(loaded.encoder, AnswersQuestions):
            loaded.encoder.notice = self._notices.append
        return loaded

    def _engine(self) -> LocalEngine:
        if self._made is None:
            from pytest_clip_robust.encoding.engines.local import LocalEngine  # noqa: PLC0415
            from pytest_clip_robust.encoding.pixels.cache import PixelCache  # noqa: PLC0415

            settings, notice = self._settings, self._notices.append
            folder = settings.pixels
            self._made = LocalEngine(
                batch_size=settings.batch_size,
                workers=settings.workers,
                pixels=PixelCache(folder, limit=settings.pixel_bytes, notice=notice) if folder is not None else None,
                notice=notice,
            )
        return self._made
