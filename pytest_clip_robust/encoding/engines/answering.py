"""Answers of a large multimodal model, to several questions at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
from PIL import Image

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.engines.base import NO_TOKEN, AnswerJob, EncodedBatch, LikelihoodJob
from pytest_clip_robust.encoding.pixels.reading import read_images
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.notice import Notice
from pytest_clip_robust.system.text import printable

QUESTIONS = 8
"""Questions that are answered at once by default."""


def likelihoods(job: LikelihoodJob, *, batch_size: int, workers: int, notice: Notice) -> Iterator[EncodedBatch]:
    """Yield the log-probabilities of the job's candidates, (B, C); `workers` processes read images; see `Engine`."""
    model = job.model.multimodal
    digests, places = list(job.positions), list(job.positions.values())
    with closing(_images(job, places, batch_size=batch_size, workers=workers, notice=notice)) as read:
        for part, images in zip(row_slices(len(digests), batch_size), read, strict=True):
            found = model.sums(images, job.question, job.candidates)
            for row, position in zip(found, places[part], strict=True):
                if not np.isfinite(row).all():
                    raise ModelError(
                        f"{job.model.spec.label}: a candidate's log-probability is {row[~np.isfinite(row)][0]} for "
                        f"{printable(job.images.samples[position])!r}: check the checkpoint, or try "
                        "--clip-precision fp32"
                    )
            yield EncodedBatch(digests[part], found.astype(np.float32))


def answers(job: AnswerJob, *, batch_size: int, workers: int, notice: Notice) -> Iterator[EncodedBatch]:
    """Yield the tokens of the answers to the job's questions, (B, limit); `workers` processes read; see `Engine`.

    Questions of similar length share a batch, so that little is padded.
    """
    model = job.model.multimodal
    by_length = questions_by_length(job)
    places = [job.asked[digest][0] for digest in by_length]
    with closing(_images(job, places, batch_size=batch_size, workers=workers, notice=notice)) as read:
        for part, images in zip(row_slices(len(by_length), batch_size), read, strict=True):
            digests = by_length[part]
            found = model.generate(images, [job.asked[digest][1] for digest in digests], limit=job.limit)
            rows = np.full((len(digests), job.limit), NO_TOKEN, np.float32)
            for row, tokens in zip(rows, found, strict=True):
                row[: len(tokens)] = tokens
            yield EncodedBatch(digests, rows)


def _images(
    job: LikelihoodJob | AnswerJob, places: list[int], *, batch_size: int, workers: int, notice: Notice
) -> Generator[list[Image.Image], None, None]:
    return read_images(job.images, places, batch_size=batch_size, workers=workers, alter=job.alter, notice=notice)


def questions_by_length(job: AnswerJob) -> list[str]:
    """Return the digests of a job's questions, the shortest question first."""
    return sorted(job.asked, key=lambda digest: (len(job.asked[digest][1]), job.asked[digest]))
