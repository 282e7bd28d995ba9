"""The engine of one process among several: it encodes its share, and stands in for what the others encode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pytest_clip_robust.encoding.engines.base import EncodedBatch, Engine, ImageJob, TextJob
from pytest_clip_robust.errors import ClipRobustError, ModelError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.rank import Rank
from pytest_clip_robust.system.text import one_line

ROWS_AT_A_TIME = 4096
PROBE = "a photo."


class RankEngine:
    """Encodes with `engine` what `share` owns; the rest gets stand-ins, so that whoever asked can ask on.

    left: how many samples were left to other processes so far. Nothing that is computed from stand-ins means anything.
    """

    def __init__(self, engine: Engine, rank: Rank) -> None:
        self.left = 0
        self._engine, self._rank = engine, rank

    def encode(self, job: ImageJob | TextJob, /) -> Iterator[EncodedBatch]:
        """Yield the features of the share, then random unit vectors that are not to be kept; see Engine.

        Raises:
            ModelError: also for an exception of the model's own code, which must not pass for one of a computation that
                stumbled over stand-ins.
        """
        digests = job.digests if isinstance(job, ImageJob) else list(job.texts)
        return self.share_out(
            digests, lambda own: self._engine.encode(_part(job, own)), width=partial(self._width, job.model)
        )

    def share_out(
        self,
        digests: Sequence[str],
        encode: Callable[[Sequence[str]], Iterator[EncodedBatch]],
        *,
        width: Callable[[], int],
    ) -> Iterator[EncodedBatch]:
        """Yield what `encode` makes of the share in `digests`, then stand-ins for the rest.

        `width` is asked for the numbers of a row where the share has none that could tell.
        """
        own = [digest for digest in digests if self._rank.owns(digest)]
        others = [digest for digest in digests if not self._rank.owns(digest)]
        columns = 0
        try:
            for batch in encode(own) if own else ():
                columns = batch.features.shape[1]
                yield batch
            if others:
                columns = columns or width()
        except ClipRobustError:
            raise
        except Exception as error:
            raise ModelError(f"encoding failed: {type(error).__name__}: {one_line(error)}") from error
        self.left += len(others)
        units = np.random.default_rng(0)
        for start in range(0, len(others), ROWS_AT_A_TIME):
            part = others[start : start + ROWS_AT_A_TIME]
            rows = units.standard_normal((len(part), columns), np.float32)
            yield EncodedBatch(part, rows / np.linalg.norm(rows, axis=1, keepdims=True), keep=False)

    def _width(self, model: LoadedModel) -> int:
        (probe,) = self._engine.encode(TextJob(model=model, texts={PROBE: PROBE}))
        return len(probe.features[0])


def _part(job: ImageJob | TextJob, digests: Sequence[str]) -> ImageJob | TextJob:
    if isinstance(job, ImageJob):
        return replace(job, digests=digests)
    return replace(job, texts={digest: job.texts[digest] for digest in digests})
