"""The engine of this process: one model on one device, and worker processes that decode images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.dense.matching import match_pairs
from pytest_clip_robust.encoding.engines.answering import QUESTIONS, answers, likelihoods
from pytest_clip_robust.encoding.engines.base import (
    EncodedBatch,
    ImageJob,
    Job,
    LikelihoodJob,
    PairJob,
    TextJob,
    samples_of,
)
from pytest_clip_robust.encoding.engines.batch_size import CPU_BATCH, CudaMemory, largest_batch
from pytest_clip_robust.encoding.engines.batches import BatchEncoder, BatchLimit, StartedPart
from pytest_clip_robust.encoding.engines.blocks import texts_by_length
from pytest_clip_robust.encoding.engines.overlap import DeviceTransfer, TransferredBatch, one_ahead
from pytest_clip_robust.encoding.pixels.cache import PixelCache, PixelShelf
from pytest_clip_robust.encoding.pixels.reading import PixelBatch, read_pixels
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.machine import count_cores
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

UNMEASURED_IMAGES, UNMEASURED_TEXTS = 64, 256
"""Samples per batch on accelerators that do not report their memory."""

MOST_WORKERS = 16
FEW_IMAGES = 512
"""Below this number, worker processes cost a model on the CPU more than they save: it shares its memory with them, so
that every page that it then writes to is copied first. This takes 1 to 2 s of each job."""


class LocalEngine:
    """Encodes on the device of the job's model. A batch size that was found for a model holds for later jobs as well.

    batch_size, text_batch_size: images and texts per batch. By default 16 on a CPU, where larger batches only cost
        memory bandwidth, and on a GPU as many as fit.
    workers: processes that decode images; 0 decodes in this process. By default `default_workers`.
    processes: how many processes encode on this machine and share its cores.
    pixels: cache of resized images for the next model.
    """

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        text_batch_size: int | None = None,
        workers: int | None = None,
        processes: int = 1,
        pixels: PixelCache | None = None,
        notice: Notice = log_notice,
    ) -> None:
        """Set how jobs are run; features depend on these settings by rounding only."""
        self._image_batch, self._text_batch = batch_size, text_batch_size
        self._workers, self._processes = workers, processes
        self._pixels, self._notice = pixels, notice
        self._limits: dict[tuple[str, ...], BatchLimit] = {}

    def encode(self, job: Job, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once; see Engine."""
        if isinstance(job, ImageJob):
            return self._images(job)
        if isinstance(job, TextJob):
            return self._texts(job)
        if isinstance(job, PairJob):
            return match_pairs(job, notice=self._notice)
        size, workers = self._image_batch or QUESTIONS, self._readers(job)
        if isinstance(job, LikelihoodJob):
            return likelihoods(job, batch_size=size, workers=workers, notice=self._notice)
        return answers(job, batch_size=size, workers=workers, notice=self._notice)

    def _readers(self, job: Job) -> int:
        """Return how many processes read a job's images."""
        if self._workers is not None:
            return self._workers
        return default_workers(job.model.device, self._processes, few=len(samples_of(job)) < FEW_IMAGES)

    def _images(self, job: ImageJob) -> Iterator[EncodedBatch]:
        """Yield the features of images; reading, altering, copying and encoding overlap."""
        model, images, steps = job.model, job.images, job.model.steps
        digest_of = {position: digest for digest, position in job.positions.items()}
        workers = self._readers(job)
        transfer = DeviceTransfer(model)
        limit = self._limit(model, "image", self._image_batch, lambda size: _encode_black(model, transfer, size))
        size = limit.samples or CPU_BATCH
        if self._image_batch is None:  # so that every worker has something to do
            size = min(size, max(CPU_BATCH, len(job.positions) // max(2 * workers, 1)))
        batches = read_pixels(
            images,
            list(job.positions.values()),
            model.image_encoder.preprocess if steps is None else steps.resize,
            batch_size=size,
            workers=workers,
            pin_memory=model.device.startswith("cuda"),
            dtype=torch.float32 if steps is None else torch.uint8,
            alter=job.alter,
            shelf=self._shelf(job),
            notice=self._notice,
        )
        encoder = BatchEncoder(model.image_encoder.encode_image, name=_name(model), notice=self._notice, limit=limit)

        def start(copied: TransferredBatch) -> tuple[PixelBatch, list[StartedPart]]:
            samples = [images.samples[position] for position in copied.batch.positions]
            return copied.batch, encoder.start(copied.inputs, samples)

        def finish(started: tuple[PixelBatch, list[StartedPart]]) -> EncodedBatch:
            batch, parts = started
            return EncodedBatch([digest_of[position] for position in batch.positions], encoder.finish(parts))

        return one_ahead(one_ahead(batches, transfer.start, transfer.finish), start, finish)

    def _texts(self, job: TextJob) -> Iterator[EncodedBatch]:
        """Yield the features of texts.

        Texts of similar length share a batch, so that tokenizers that pad to the longest text pad little.
        """
        model, text_of = job.model, job.texts
        limit = self._limit(
            model, "text", self._text_batch, lambda size: model.text_encoder.encode_text(["word " * 100] * size)
        )
        encoder = BatchEncoder(model.text_encoder.encode_text, name=_name(model), notice=self._notice, limit=limit)
        by_length = texts_by_length(text_of)

        def start(digests: list[str]) -> tuple[list[str], list[StartedPart]]:
            texts = [text_of[digest] for digest in digests]
            return digests, encoder.start(texts, [printable(text) for text in texts])

        def finish(started: tuple[list[str], list[StartedPart]]) -> EncodedBatch:
            return EncodedBatch(started[0], encoder.finish(started[1]))

        batches = (by_length[part] for part in row_slices(len(by_length), limit.samples or CPU_BATCH))
        return one_ahead(batches, start, finish)

    def _shelf(self, job: ImageJob) -> PixelShelf | None:
        """Return the cached pixels of a job's images; altered images are made again every time."""
        steps = job.model.steps
        if self._pixels is None or steps is None or job.alter is not None:
            return None
        return self._pixels.shelf(f"{steps.identity} border={job.images.crop_border}", list(job.positions))

    def _limit(self, model: LoadedModel, kind: str, given: int | None, run: Callable[[int], Any]) -> BatchLimit:
        """Return how many samples fit into a batch: as given, as measured, or as learnt from an earlier job."""
        key = (kind, model.weights, model.precision, model.device)
        if key not in self._limits:
            self._limits[key] = BatchLimit(given or _default_batch(model.device, kind, run))
        return self._limits[key]


def default_workers(device: str, processes: int = 1, *, few: bool = False) -> int:
    """Return how many worker processes decode images for a model on `device`; `few`: whether a job has few images.

    2 for a model on the CPU, which needs the cores itself, and 0 for few images. Otherwise one per core, 2 to 16, where
    the cores are divided between the `processes` that encode on this machine.
    """
    if device == "cpu":
        return 0 if few else 2
    return max(2, min(MOST_WORKERS, count_cores() // processes))


def _default_batch(device: str, kind: str, run: Callable[[int], Any]) -> int:
    if device == "cpu":
        return CPU_BATCH
    if device.startswith("cuda"):
        return largest_batch(CudaMemory(device), run)
    return UNMEASURED_IMAGES if kind == "image" else UNMEASURED_TEXTS


def image_width(model: LoadedModel) -> int:
    """Return the number of dimensions of a model's image features."""
    return int(_encode_black(model, DeviceTransfer(model), 1).shape[1])


def _encode_black(model: LoadedModel, transfer: DeviceTransfer, size: int) -> Any:
    """Send `size` black images through the model, and return their features."""
    steps, image = model.steps, Image.new("RGB", (64, 64))
    one = torch.as_tensor(np.array(model.image_encoder.preprocess(image) if steps is None else steps.resize(image)))
    copied = transfer.finish(transfer.start(PixelBatch([], torch.stack([one] * size), [], [])))
    with torch.inference_mode():
        return model.image_encoder.encode_image(copied.inputs)


def _name(model: LoadedModel) -> str:
    return printable(str(model.spec))
