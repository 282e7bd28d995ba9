"""ROC analysis: AUROC with ties, its variance, operating points and average precision, all from one sort.

Positives should score higher than negatives. A Tally counts both at every distinct score; every statistic is a function
of such counts along the last axis, so all bootstrap replicates are one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL, wilson, without_spread
from pytest_clip_robust.stats.resampling import DRAWS_KEPT, SEED, recentred_interval

Counts = NDArray[Any]

REPLICATES = 1000
CELLS = 100
"""Neighbouring scores are pooled for replicates, so that a million scores resample as fast as a thousand."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of positives and of negatives at each of K distinct scores, the highest first."""

    positives: Counts
    negatives: Counts


RocStatistic = Callable[[Counts, Counts], Floats]
"""Takes positives and negatives (..., K), the highest score first; returns (...)."""


def tally(positives: Floats, negatives: Floats) -> Tally:
    """Count the scores of positives (P,) and negatives (Q,); infinite scores are allowed, NaN is not.

    Raises:
        MeasurementError: one side is empty, or a score is NaN.
    """
    for name, scores in (("positives", positives), ("negatives", negatives)):
        if scores.ndim != 1 or not len(scores):
            raise MeasurementError(f"{name} of shape {scores.shape}: a ranking needs at least one score on each side")
        bad = np.isnan(scores)
        if bad.any():
            raise MeasurementError(
                f"{int(bad.sum())} of {len(scores)} scores of the {name} are NaN, first at {int(bad.argmax())}; "
                "a NaN has no rank"
            )
    distinct, place = np.unique(np.concatenate([positives, negatives]), return_inverse=True)
    k = len(distinct)
    counts = [np.bincount(part, minlength=k)[::-1] for part in (place[: len(positives)], place[len(positives) :])]
    return Tally(counts[0].astype(np.int64), counts[1].astype(np.int64))


def auroc(positives: Counts, negatives: Counts) -> Floats:
    """Return the probability that a positive outranks a negative; a tie counts half (Mann and Whitney 1947).

    >>> float(auroc(np.array([2, 1, 0]), np.array([0, 1, 1])))
    0.9166666666666666
    """
    beaten = 2 * (np.cumsum(positives, axis=-1) - positives) + positives
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    value: Floats = (beaten * negatives).sum(axis=-1) / (2 * pairs)
    return value


def false_positive_rate(positives: Counts, negatives: Counts, *, recall: float = 0.95) -> Floats:
    """Return the share of negatives accepted at the highest threshold that accepts `recall` of the positives."""
    accepted = np.cumsum(positives, axis=-1)
    enough = accepted >= recall * accepted[..., -1:] - 1e-9
    first = enough.argmax(axis=-1)
    false = np.take_along_axis(np.cumsum(negatives, axis=-1), first[..., None], axis=-1)[..., 0]
    rate: Floats = false / negatives.sum(axis=-1)
    return rate


def average_precision(positives: Counts, negatives: Counts) -> Floats:
    """Return ``sum (R_k - R_{k-1}) P_k`` over the thresholds, without interpolation."""
    true, false = np.cumsum(positives, axis=-1), np.cumsum(negatives, axis=-1)
    precision = np.divide(true, true + false, out=np.zeros(true.shape), where=true + false > 0)
    value: Floats = (positives * precision).sum(axis=-1) / true[..., -1]
    return value


def delong_variance(counted: Tally) -> float:
    """Return the variance of the AUROC (DeLong et al. 1988); 0 where a side has a single sample with no spread."""
    p, q = counted.positives, counted.negatives
    n_p, n_q = p.sum(), q.sum()
    above_p, above_q = np.cumsum(p) - p / 2, np.cumsum(q) - q / 2
    of_positive, of_negative = 1 - above_q / n_q, above_p / n_p
    area = float(auroc(p, q))
    spread_p = (p * (of_positive - area) ** 2).sum() / max(n_p - 1, 1)
    spread_q = (q * (of_negative - area) ** 2).sum() / max(n_q - 1, 1)
    return float(spread_p / n_p + spread_q / n_q)


def auroc_interval(counted: Tally, *, level: float = LEVEL) -> Interval:
    """Return DeLong's interval on the logit scale, which stays inside 0 to 1 (Pepe 2003, section 5.2).

    If every positive outranks every negative, or none does, that variance is 0; the interval is then Wilson's for as
    many equal outcomes as the smaller side has samples.
    """
    area = float(auroc(counted.positives, counted.negatives))
    fewer = int(min(counted.positives.sum(), counted.negatives.sum()))
    if area in {0.0, 1.0}:
        return wilson(round(area) * fewer, fewer, level=level)
    half = float(ndtri(0.5 + level / 2)) * delong_variance(counted) ** 0.5 / (area * (1 - area))
    return Interval(float(expit(logit(area) - half)), float(expit(logit(area) + half)), level, "DeLong, logit")


def bootstrap_interval(
    statistic: RocStatistic, positives: list[Tally], *, value: float, level: float = LEVEL, replicates: int = REPLICATES
) -> Interval:
    """Return a stratified bootstrap interval for the mean of `statistic` over tallies that share their positives.

    One tally is the plain case; a mean over classes of negatives has one tally per class, each with the same positives.
    Scores are pooled in cells, so the replicates are recentred on `value`, which is exact. Multinomial counts of cells
    take less time here than the blocks of `resampling` (FPR95 of 50,000 scores: 0.30 s against 0.45 s).
    """
    drawn = iter(_resampled(positives, replicates))
    shared = next(drawn)
    total = np.zeros(replicates)
    for negatives in drawn:
        total += statistic(shared, negatives)
    if np.ptp(total) == 0:
        fewest = min(positives[0].positives.sum(), *(counted.negatives.sum() for counted in positives))
        return without_spread(value, float(fewest), bounds=(0.0, 1.0), level=level)
    return recentred_interval(total / len(positives), value, level=level, bounds=(0.0, 1.0))


def cell_edges(scores: Sequence[Floats], *, cells: int = CELLS) -> Floats:
    """Return the upper ends of at most `cells` cells ``(lo, hi]`` with about equally many scores, without the last.

    Equal scores share a cell; up to `cells` distinct scores have a cell each.
    """
    distinct = np.unique(np.concatenate(scores))
    if len(distinct) <= cells:
        return distinct[:-1].astype(np.float64)
    shares = np.linspace(0, 1, cells + 1)[1:-1]
    return np.unique(np.quantile(np.concatenate(scores), shares, method="inverted_cdf")).astype(np.float64)


def cells_of(scores: Sequence[Floats], *, cells: int = CELLS) -> list[NDArray[np.int64]]:
    """Return the cell of each score, by the edges that `cell_edges` gives for all `scores`; cell 0 has the lowest."""
    edges = cell_edges(scores, cells=cells)
    return [np.searchsorted(edges, one, side="left") for one in scores]


def coarse_tallies(positives: Floats, groups: list[Floats], *, cells: int = CELLS) -> list[Tally]:
    """Tally every group of negatives against the same positives, all in the same `cells` cells of scores or fewer."""
    edges = cell_edges([positives, *groups], cells=cells)

    def counts(scores: Floats) -> Counts:
        found = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1)
        return found[::-1].astype(np.int64)

    same = counts(positives)
    return [Tally(same, counts(group)) for group in groups]


def _resampled(tallies: list[Tally], replicates: int) -> Iterable[Counts]:
    """Return the resampled counts of the shared positives, and then those of each tally's negatives.

    They are kept for the next statistic of the same scores, unless they need much memory.
    """
    counts = [tallies[0].positives, *(one.negatives for one in tallies)]
    rows = tuple(one.astype(np.int64).tobytes() for one in counts)
    if sum(one.nbytes for one in counts) * replicates > DRAWS_KEPT // 4:
        return _drawn(rows, replicates)
    return _kept(rows, replicates)


def _bytes_of(drawn: tuple[Counts, ...]) -> int:
    return sum(one.nbytes for one in drawn)


_KEPT: LRUCache[Any, tuple[Counts, ...]] = LRUCache(DRAWS_KEPT, getsizeof=_bytes_of)


@cached(_KEPT)
def _kept(rows: tuple[bytes, ...], replicates: int) -> tuple[Counts, ...]:
    drawn = tuple(_drawn(rows, replicates))
    for one in drawn:
        one.flags.writeable = False
    return drawn


def _drawn(rows: tuple[bytes, ...], replicates: int) -> Iterator[Counts]:
    rng = np.random.default_rng(SEED)
    for row in rows:
        counts = np.frombuffer(row, np.int64)
        yield rng.multinomial(counts.sum(), counts / counts.sum(), size=replicates)
