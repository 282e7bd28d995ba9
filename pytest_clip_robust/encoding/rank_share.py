"""One rank's share of the samples: it is encoded, and the samples of other ranks get placeholder features.

A rank cannot know which features a test needs without running the test. So it runs every test, with random unit vectors
in the place of features that other ranks encode, and no result that is computed from them counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.engines.base import EncodedBatch
from pytest_clip_robust.errors import ClipRobustError, ModelError
from pytest_clip_robust.system.rank import Rank
from pytest_clip_robust.system.text import one_line

PLACEHOLDER_ROWS = 4096


def encode_share(
    rank: Rank,
    digests: Sequence[str],
    encode: Callable[[Sequence[str]], Iterator[EncodedBatch]],
    *,
    width: Callable[[], int],
) -> Iterator[EncodedBatch]:
    """Yield features of the samples that `rank` owns, then random unit vectors for the others, with `keep` False.

    width: called if the rank owns none of the samples; returns the number of dimensions.

    Raises:
        ModelError: also for exceptions in the model's own code, which would otherwise be mistaken for the failure of a
            computation on placeholders.
    """
    own = [digest for digest in digests if rank.owns(digest)]
    others = [digest for digest in digests if not rank.owns(digest)]
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
    random = np.random.default_rng(0)
    for part in row_slices(len(others), PLACEHOLDER_ROWS):
        rows = random.standard_normal((len(others[part]), columns), np.float32)
        yield EncodedBatch(others[part], rows / np.linalg.norm(rows, axis=1, keepdims=True), keep=False)
