"""Ranks of the correct candidate: among captions for every image, and among images for every caption.

Both directions are counted in one pass over blocks of the N x M cosines; only one block is held at a time. Where two
cosines differ by less than the rounding error of a block, they are computed again in double precision, so that ranks
depend neither on the size of a block nor on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.vectors import cosines, unit_rows

ROWS, COLUMNS = 128, 32768
"""The size of a block: 16 MB of cosines. With fewer than 256 rows the count of a column fits into one byte."""

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranks:
    """For each of Q queries: the rank of its best correct candidate, and the incorrect candidate that scores highest.

    ranks: (Q,), 1 is best. best: (Q,) position of that correct candidate. rivals: (Q,) positions of the incorrect
    candidates that score highest; -1 where every candidate is correct. leads: (Q,) cosine of the rival minus that of
    the best correct candidate.
    """

    ranks: Ints
    best: Ints
    rivals: Ints
    leads: NDArray[np.float64]


def rank_both(
    images: NDArray[np.floating],
    captions: NDArray[np.floating],
    pairs: Ints,
    *,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> tuple[Ranks, Ranks]:
    """Rank M captions for each of N images, and N images for each caption.

    images (N, D) and captions (M, D) of any length; pairs (P, 2): image and caption that belong together, each image
    and each caption in at least one. The rank of a query is that of its best correct candidate; its other correct
    candidates are not counted. Of equal scores the lower index ranks first.

    Raises:
        MeasurementError: shapes disagree, the norm of a feature is zero, or an image or caption is in no pair.
    """
    left, right = unit_rows(images, "image"), unit_rows(captions, "caption")
    if left.shape[1] != right.shape[1]:
        raise MeasurementError(f"image features {left.shape} and caption features {right.shape}: widths differ")
    pairs = np.unique(pairs, axis=0)
    scores = cosines(left, right, pairs[:, 0], pairs[:, 1])
    by_image = _Tally(pairs[:, 0], pairs[:, 1], scores, n=len(left), width=left.shape[1], what="image")
    by_caption = _Tally(pairs[:, 1], pairs[:, 0], scores, n=len(right), width=left.shape[1], what="caption")
    starts = np.searchsorted(pairs[:, 0], np.arange(0, len(left) + rows, rows))
    for block, top in enumerate(range(0, len(left), rows)):
        down = slice(top, min(top + rows, len(left)))
        own = pairs[starts[block] : starts[block + 1]]
        for first in range(0, len(right), columns):
            across = slice(first, min(first + columns, len(right)))
            product = left[down] @ right[across].T
            inside = own[(own[:, 1] >= across.start) & (own[:, 1] < across.stop)]
            product[inside[:, 0] - down.start, inside[:, 1] - across.start] = -np.inf
            by_image.add_rows(product, down, across, left, right)
            by_caption.add_columns(product, across, down, right, left)
    return by_image.ranks(), by_caption.ranks()


class _Tally:
    """Counts, for each query, the incorrect candidates that rank before its best correct one."""

    def __init__(
        self, queries: Ints, candidates: Ints, scores: NDArray[np.float64], *, n: int, width: int, what: str
    ) -> None:
        order = np.lexsort((candidates, -scores, queries))
        found, first = np.unique(queries[order], return_index=True)
        if len(found) < n:
            lacking = int(np.setdiff1d(np.arange(n), found)[0])
            raise MeasurementError(f"{what} {lacking} is in no pair, so it has no correct candidate")
        self._best, self._own = candidates[order][first], scores[order][first]
        # Adding up D products in single precision errs by less than D roundings, in any order.
        error = (width + 4) * 2.0**-24
        self._above = (self._own + error).astype(np.float32)
        self._below = (self._own - error).astype(np.float32)
        self._ahead = np.zeros(n, np.int64)
        self._rivals = np.full(n, -1, np.int64)
        self._rival_scores = np.full(n, -np.inf, np.float32)

    def add_rows(self, product: Floats32, queries: slice, candidates: slice, left: Floats32, right: Floats32) -> None:
        """Count a block that has one row per query."""
        clear = product > self._above[queries, None]
        self._ahead[queries] += np.count_nonzero(clear, axis=1)
        close = clear ^ (product >= self._below[queries, None])
        row, column = np.divmod(np.flatnonzero(close), close.shape[1])  # faster than nonzero
        self._settle(row + queries.start, column + candidates.start, left, right)
        places = product.argmax(axis=1)
        self._update_rivals(queries, product[np.arange(len(product)), places], places + candidates.start)

    def add_columns(
        self, product: Floats32, queries: slice, candidates: slice, left: Floats32, right: Floats32
    ) -> None:
        """Count a block that has one column per query."""
        clear = product > self._above[queries]
        self._ahead[queries] += clear.view(np.uint8).sum(axis=0, dtype=np.uint8)
        close = clear ^ (product >= self._below[queries])
        row, column = np.divmod(np.flatnonzero(close), close.shape[1])  # faster than nonzero
        self._settle(column + queries.start, row + candidates.start, left, right)
        highest = product.max(axis=0)
        better = np.flatnonzero(highest > self._rival_scores[queries])
        places = np.zeros(len(highest), np.int64)
        places[better] = product[:, better].argmax(axis=0)
        self._update_rivals(queries, highest, places + candidates.start)

    def _settle(self, queries: Ints, candidates: Ints, left: Floats32, right: Floats32) -> None:
        """Decide in double precision which of the close candidates rank before the correct one."""
        scores, own = cosines(left, right, queries, candidates), self._own[queries]
        ahead = (scores > own) | ((scores == own) & (candidates < self._best[queries]))
        np.add.at(self._ahead, queries[ahead], 1)

    def _update_rivals(self, queries: slice, scores: Floats32, candidates: Ints) -> None:
        better = scores > self._rival_scores[queries]
        self._rival_scores[queries][better] = scores[better]
        self._rivals[queries][better] = candidates[better]

    def ranks(self) -> Ranks:
        """Return the ranks; every block must have been added before."""
        return Ranks(self._ahead + 1, self._best, self._rivals, self._rival_scores - self._own)
