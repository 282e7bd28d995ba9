"""Blocks: parts of a job that can be encoded anywhere, and whose batches are those of the whole job."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.dense.matching import PAIRS_AT_A_TIME
from pytest_clip_robust.encoding.engines.answering import QUESTIONS, questions_by_length
from pytest_clip_robust.encoding.engines.base import AnswerJob, ImageJob, Job, PairJob, TextJob, samples_of
from pytest_clip_robust.encoding.engines.batch_size import CPU_BATCH, LARGEST_BATCH

BLOCKS_PER_WORKER = 4
"""So many blocks for each worker keep all of them busy until the end, although some are faster than others."""

BATCHES_PER_BLOCK = 16
"""At most. With 16 images per batch, a worker that is lost takes 10 s of a model's work on the CPU with it."""


def in_order(job: Job) -> list[str]:
    """Return the digests of a job's samples in the order in which the local engine encodes them."""
    if isinstance(job, TextJob):
        return texts_by_length(job.texts)
    return questions_by_length(job) if isinstance(job, AnswerJob) else list(samples_of(job))


def texts_by_length(texts: Mapping[str, str]) -> list[str]:
    """Return the digests of texts, the shortest text first, so that texts of one batch are of similar length."""
    return sorted(texts, key=lambda digest: (len(texts[digest]), texts[digest]))


def cut(job: Job, *, workers: int, batch_size: int | None, on_cpu: bool) -> list[slice]:
    """Return slices of a job's samples in order, for that many workers.

    On a CPU, a slice consists of whole batches of the local engine, so that the features are the same bit for bit. On
    an accelerator, the size of a batch is only known where the model runs.
    """
    rows = len(samples_of(job))
    batch = _batch(job, batch_size) if on_cpu else batch_size or LARGEST_BATCH
    wanted = -(-rows // (BLOCKS_PER_WORKER * workers))
    batches = min(max(1, -(-wanted // batch)), BATCHES_PER_BLOCK)
    return list(row_slices(rows, batch * batches))


def _batch(job: Job, batch_size: int | None) -> int:
    """Return the samples per batch of the local engine for a model on the CPU."""
    if isinstance(job, PairJob):
        return PAIRS_AT_A_TIME
    if isinstance(job, TextJob):
        return CPU_BATCH
    return batch_size or (CPU_BATCH if isinstance(job, ImageJob) else QUESTIONS)
