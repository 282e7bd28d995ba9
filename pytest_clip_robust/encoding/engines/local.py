"""The engine of this process: one model on one device, images decoded by worker processes beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.engines.base import EncodedBatch, ImageJob, TextJob
from pytest_clip_robust.encoding.engines.batch_size import ON_CPU, CudaMemory, fitting_batch
from pytest_clip_robust.encoding.engines.batches import BatchEncoder, BatchLimit, Part
from pytest_clip_robust.encoding.engines.overlap import PlacedBatch, Placing, one_ahead
from pytest_clip_robust.encoding.pixels.cache import PixelCache, PixelShelf
from pytest_clip_robust.encoding.pixels.reading import PixelBatch, read_pixels
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.machine import count_cores
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

UNMEASURED_IMAGES, UNMEASURED_TEXTS = 64, 256
"""A batch on accelerators that do not tell their memory."""

MOST_WORKERS = 16


class LocalEngine:
    """Encodes on the device of the job's model. What it learns of a model's memory holds for later jobs as well.

    batch_size, text_batch_size: images and texts at once. By default 16 on a CPU, where larger batches only move
        memory, and on a GPU as many as fit.
    workers: processes that decode images, 0 for none. By default 2 on a CPU, which has the model to run, and one a core
        beside an accelerator.
    pixels: where resized images are kept for the next model.
    """

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        text_batch_size: int | None = None,
        workers: int | None = None,
        pixels: PixelCache | None = None,
        notice: Notice = log_notice,
    ) -> None:
        """Set how jobs are done; features depend on none of it beyond rounding."""
        self._image_batch, self._text_batch = batch_size, text_batch_size
        self._workers, self._pixels, self._notice = workers, pixels, notice
        self._limits: dict[tuple[str, ...], BatchLimit] = {}

    def encode(self, job: ImageJob | TextJob, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once; see Engine."""
        return self._images(job) if isinstance(job, ImageJob) else self._texts(job)

    def _images(self, job: ImageJob) -> Iterator[EncodedBatch]:
        """Read, resize, place and encode images, all of it side by side; corrupt them where the job asks for it."""
        model, images, steps = job.model, job.images, job.model.steps
        sources, alter = (images, None) if isinstance(images, ImageSet) else (images.sources, images)
        position_of = {digest: position for position, digest in enumerate(images.digests)}
        workers = default_workers(model.device) if self._workers is None else self._workers
        placing = Placing(model)
        limit = self._limit(model, "image", self._image_batch, lambda size: _encode_blank(model, placing, size))
        size = limit.samples or ON_CPU
        if self._image_batch is None:  # so that every worker has something to do
            size = min(size, max(ON_CPU, len(job.digests) // max(2 * workers, 1)))
        batches = read_pixels(
            sources,
            [position_of[digest] for digest in job.digests],
            model.encoder.preprocess if steps is None else steps.resize,
            batch_size=size,
            workers=workers,
            pin_memory=model.device.startswith("cuda"),
            dtype=torch.float32 if steps is None else torch.uint8,
            alter=alter,
            shelf=self._shelf(job),
            notice=self._notice,
        )
        encoder = BatchEncoder(model.encoder.encode_image, who=_name(model), notice=self._notice, limit=limit)

        def start(placed: PlacedBatch) -> tuple[PixelBatch, list[Part]]:
            samples = [sources.samples[position] for position in placed.batch.positions]
            return placed.batch, encoder.start(placed.inputs, samples)

        def finish(started: tuple[PixelBatch, list[Part]]) -> EncodedBatch:
            batch, parts = started
            return EncodedBatch([images.digests[position] for position in batch.positions], encoder.finish(parts))

        return one_ahead(one_ahead(batches, placing.start, placing.finish), start, finish)

    def _texts(self, job: TextJob) -> Iterator[EncodedBatch]:
        """Encode texts of about equal length together, so that tokenizers that pad to the longest pad little."""
        model, text_of = job.model, job.texts
        limit = self._limit(
            model, "text", self._text_batch, lambda size: model.encoder.encode_text(["word " * 100] * size)
        )
        size = limit.samples or ON_CPU
        encoder = BatchEncoder(model.encoder.encode_text, who=_name(model), notice=self._notice, limit=limit)
        by_length = sorted(text_of, key=lambda digest: (len(text_of[digest]), text_of[digest]))

        def start(digests: list[str]) -> tuple[list[str], list[Part]]:
            texts = [text_of[digest] for digest in digests]
            return digests, encoder.start(texts, [printable(text) for text in texts])

        def finish(started: tuple[list[str], list[Part]]) -> EncodedBatch:
            return EncodedBatch(started[0], encoder.finish(started[1]))

        return one_ahead((by_length[i : i + size] for i in range(0, len(by_length), size)), start, finish)

    def _shelf(self, job: ImageJob) -> PixelShelf | None:
        """Return the kept pixels of a job's images; corrupted ones are made anew every time."""
        steps = job.model.steps
        if self._pixels is None or steps is None or not isinstance(job.images, ImageSet):
            return None
        return self._pixels.shelf(f"{steps.identity} border={job.images.crop_border}", job.digests)

    def _limit(self, model: LoadedModel, kind: str, given: int | None, run: Callable[[int], Any]) -> BatchLimit:
        """Return how many samples the model takes at once: what was asked for, what fits, or what was learnt."""
        key = (kind, model.weights, model.precision, model.device)
        if key not in self._limits:
            self._limits[key] = BatchLimit(given or _default_batch(model.device, kind, run))
        return self._limits[key]


def default_workers(device: str) -> int:
    """Return how many processes decode for a model on `device`: this process's share of the cores beside a GPU."""
    if device == "cpu":
        return 2
    runs = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(2, min(MOST_WORKERS, count_cores() // runs))


def _default_batch(device: str, kind: str, run: Callable[[int], Any]) -> int:
    if device == "cpu":
        return ON_CPU
    if device.startswith("cuda"):
        return fitting_batch(CudaMemory(device), run)
    return UNMEASURED_IMAGES if kind == "image" else UNMEASURED_TEXTS


def _encode_blank(model: LoadedModel, placing: Placing, size: int) -> None:
    """Send `size` black images through the model."""
    steps, image = model.steps, Image.new("RGB", (64, 64))
    one = torch.as_tensor(np.array(model.encoder.preprocess(image) if steps is None else steps.resize(image)))
    placed = placing.finish(placing.start(PixelBatch([], torch.stack([one] * size), [], [])))
    with torch.inference_mode():
        model.encoder.encode_image(placed.inputs)


def _name(model: LoadedModel) -> str:
    return printable(str(model.spec))
