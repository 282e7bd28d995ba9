"""The engine of this process: one model on one device, images decoded by worker processes beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_clip_robust.datasets.image_set import ImageSet
from pytest_clip_robust.encoding.batches import BatchEncoder
from pytest_clip_robust.encoding.engine import EncodedBatch, ImageJob, TextJob
from pytest_clip_robust.encoding.images import read_pixels
from pytest_clip_robust.encoding.notice import Notice, log_notice
from pytest_clip_robust.models.encoder import LoadedModel
from pytest_clip_robust.text import printable

TEXTS_ON_ACCELERATOR, TEXTS_ON_CPU = 256, 16
IMAGES_ON_ACCELERATOR, IMAGES_ON_CPU = 64, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """Encodes on the device of the job's model.

    batch_size, text_batch_size: images and texts at once. By default 64 and 256 on an accelerator, which needs much
        work at once, and 16 and 16 on a CPU, where larger batches only move memory.
    workers: processes that decode images; 0 for none.
    """

    batch_size: int | None = None
    text_batch_size: int | None = None
    workers: int = 2
    notice: Notice = log_notice

    def encode(self, job: ImageJob | TextJob, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once; see Engine."""
        return self._images(job) if isinstance(job, ImageJob) else self._texts(job)

    def _images(self, job: ImageJob) -> Iterator[EncodedBatch]:
        """Read images, corrupt them where the job asks for it, and encode them."""
        model, images = job.model, job.images
        sources, alter = (images, None) if isinstance(images, ImageSet) else (images.sources, images)
        digests = images.digests
        position_of = {digest: position for position, digest in enumerate(digests)}
        encode = BatchEncoder(model.encoder.encode_image, who=_name(model), notice=self.notice)
        for batch in read_pixels(
            sources,
            [position_of[digest] for digest in job.digests],
            model.encoder.preprocess,
            batch_size=self.batch_size or (IMAGES_ON_CPU if model.device == "cpu" else IMAGES_ON_ACCELERATOR),
            workers=self.workers,
            pin_memory=model.device.startswith("cuda"),
            alter=alter,
            notice=self.notice,
        ):
            features = encode(batch.pixels, [sources.samples[position] for position in batch.positions])
            yield EncodedBatch([digests[position] for position in batch.positions], features)

    def _texts(self, job: TextJob) -> Iterator[EncodedBatch]:
        """Encode texts of about equal length together, so that tokenizers that pad to the longest pad little."""
        model, text_of = job.model, job.texts
        size = self.text_batch_size or (TEXTS_ON_CPU if model.device == "cpu" else TEXTS_ON_ACCELERATOR)
        encode = BatchEncoder(model.encoder.encode_text, who=_name(model), notice=self.notice)
        by_length = sorted(text_of, key=lambda digest: (len(text_of[digest]), text_of[digest]))
        for start in range(0, len(by_length), size):
            digests = by_length[start : start + size]
            texts = [text_of[digest] for digest in digests]
            yield EncodedBatch(digests, encode(texts, [printable(text) for text in texts]))


def _name(model: LoadedModel) -> str:
    return printable(str(model.spec))
