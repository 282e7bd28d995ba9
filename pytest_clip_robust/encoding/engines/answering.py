"""Answers of a large multimodal model, to several questions at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.engines.base import NO_TOKEN, AnswerJob, EncodedBatch, LikelihoodJob
from pytest_clip_robust.encoding.pixels.reading import read_altered
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.text import printable

QUESTIONS = 8
"""Questions that are answered at once, unless a number is given."""


def likelihoods(job: LikelihoodJob, *, batch_size: int | None = None) -> Iterator[EncodedBatch]:
    """Yield the log-probabilities of the job's candidates, (B, C); see `Engine`."""
    model = job.model.multimodal
    digests = list(job.positions)
    for part in row_slices(len(digests), batch_size or QUESTIONS):
        positions = [job.positions[digest] for digest in digests[part]]
        images = [read_altered(job.images, position, job.alter) for position in positions]
        found = model.sums(images, job.question, job.candidates)
        for row, position in zip(found, positions, strict=True):
            if not np.isfinite(row).all():
                raise ModelError(
                    f"{job.model.spec.label}: a candidate's log-probability is {row[~np.isfinite(row)][0]} for "
                    f"{printable(job.images.samples[position])!r}: check the checkpoint, or try --clip-precision fp32"
                )
        yield EncodedBatch(digests[part], found.astype(np.float32))


def answers(job: AnswerJob, *, batch_size: int | None = None) -> Iterator[EncodedBatch]:
    """Yield the tokens of the answers to the job's questions, (B, limit); see `Engine`.

    Questions of similar length share a batch, so that little is padded.
    """
    model = job.model.multimodal
    by_length = questions_by_length(job)
    for part in row_slices(len(by_length), batch_size or QUESTIONS):
        digests = by_length[part]
        images = [read_altered(job.images, job.asked[digest][0], job.alter) for digest in digests]
        found = model.generate(images, [job.asked[digest][1] for digest in digests], limit=job.limit)
        rows = np.full((len(digests), job.limit), NO_TOKEN, np.float32)
        for row, tokens in zip(rows, found, strict=True):
            row[: len(tokens)] = tokens
        yield EncodedBatch(digests, rows)


def questions_by_length(job: AnswerJob) -> list[str]:
    """Return the digests of a job's questions, the shortest question first."""
    return sorted(job.asked, key=lambda digest: (len(job.asked[digest][1]), job.asked[digest]))
