"""The bootstrap of values computed from sums over samples: one resampling for intervals and for paired tests.

Samples are dealt at random into at most 1,000 blocks per stratum, and blocks are resampled. Block sums of independent
samples are independent, so this is a bootstrap like any other, whose standard error is known to 1/sqrt(2 * 1000); with
50,000 samples it is one small matrix product. Up to 1,000 samples, every block is a single sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Evidence, Term
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL, without_spread

SEED = 0
"""Intervals depend on the data alone: every run draws the same replicates."""

BLOCKS = 1000
REPLICATES = 1000
DRAWS_KEPT = 2**26
"""Bytes. Most gates of a run are about sets of the same few sizes, and drawing takes longer than summing."""

UNBOUNDED = (-np.inf, np.inf)


def interval_of(
    evidence: Evidence,
    *,
    value: float | None = None,
    bounds: tuple[float, float] = UNBOUNDED,
    size: int | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval:
    """Return the bootstrap interval of the value that `evidence` has a statistic for (Efron 1979).

    The interval is that of the percentiles. With `value`, the exact one where evidence is coarser, it is recentred on
    that, as `recentred_interval` does. Replicates in which the statistic is undefined are left out.

    Where no replicate differs from another, resampling cannot show how far the value would move on other samples. With
    finite `bounds` of the value, the interval is then Wilson's for `size` samples with the same outcome, by default as
    many as the smallest stratum has.

    Raises:
        MeasurementError: the evidence has no statistic, or it is undefined on every replicate.
    """
    whole, *_ = values = resample(evidence, replicates=replicates)[0]
    draws = values[1:]
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        raise MeasurementError("the value is undefined on every replicate of these samples, so it has no interval")
    exact = float(whole) if value is None else value
    if np.ptp(defined) == 0 and np.isfinite(bounds).all():
        return without_spread(exact, size or min(evidence.shape().values()), bounds=bounds, level=level)
    if value is None:
        return percentile_interval(defined, level=level)
    return recentred_interval(defined, value, level=level, bounds=bounds)


def percentile_interval(values: Floats, *, level: float = LEVEL) -> Interval:
    """Return the central `level` of bootstrap `values` (B,); NaN is left out."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap percentile")


def recentred_interval(
    values: Floats, value: float, *, level: float = LEVEL, bounds: tuple[float, float] = UNBOUNDED
) -> Interval:
    """Return the percentile interval of bootstrap `values` (B,), moved so that their median is at `value`.

    A sum of absolute differences is larger in every replicate than in the sample, so its percentile interval can miss
    the value. Moved, it shows how far the value would move on other samples of this size.
    """
    middle = float(np.nanmedian(values))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]) - middle + value
    return Interval(
        min(value, max(float(low), bounds[0])), max(value, min(float(high), bounds[1])), level, "bootstrap, recentred"
    )


def resample(*models: Evidence, replicates: int = REPLICATES, seed: int = SEED) -> list[Floats]:
    """Return each model's statistic, (1 + B, ...): first on all samples, then on B replicates of them.

    Each stratum is resampled separately, and every replicate draws the same samples for all models.

    Raises:
        MeasurementError: the models' evidence is not about the same samples, or not for a test of sums.
    """
    terms, statistic = models[0].terms, models[0].statistic
    if terms is None or statistic is None:
        raise MeasurementError(f"evidence for the test {models[0].test!r} has no statistic to resample")
    shapes = [one.shape() for one in models]
    if any(shape != shapes[0] for shape in shapes):
        raise MeasurementError(f"evidence of {' and of '.join(map(str, shapes))} samples cannot be paired")
    sums: list[list[list[Floats]]] = [[] for _ in models]
    drawn = _draws(tuple(len(one) for one in models[0].strata), replicates, seed)
    for (block, weights), *strata in zip(drawn, *(one.strata for one in models), strict=True):
        for found, stratum in zip(sums, strata, strict=True):
            found.append([weights @ block_sums(term, block, weights.shape[1]) for term in terms(stratum.columns)])
    return [statistic(found) for found in sums]


def blocks_of(samples: int) -> int:
    """Return the number of blocks that `samples` samples are dealt into."""
    return min(samples, BLOCKS)


def value_from(evidence: Evidence) -> float:
    """Return the value of evidence for a test of sums, from all of its samples.

    Raises:
        MeasurementError: the evidence is for another test.
    """
    return float(resample(evidence, replicates=0)[0][0])


def block_sums(term: Term, block: NDArray[np.int64], blocks: int) -> Floats:
    """Return (blocks, size) sums of a term's weights."""
    place = block if term.cell is None else block * term.size + term.cell
    found = np.bincount(place, weights=term.weight, minlength=blocks * term.size)
    return found.reshape(blocks, term.size).astype(np.float64)


Draw = tuple[NDArray[np.int64], Floats]
"""The block of each sample of a stratum (N,), and how often each replicate draws each block (1 + B, blocks)."""


def _draws(sizes: tuple[int, ...], replicates: int, seed: int) -> Iterable[Draw]:
    """Return the draws of strata with these `sizes`; those that need little memory are kept for the next call."""
    if sum(map(blocks_of, sizes)) * (1 + replicates) * np.float64().nbytes > DRAWS_KEPT // 4:
        return _drawn(sizes, replicates, seed)
    return _kept_draws(sizes, replicates, seed)


def _bytes_of(draws: tuple[Draw, ...]) -> int:
    return sum(block.nbytes + weights.nbytes for block, weights in draws)


@cached(LRUCache(DRAWS_KEPT, getsizeof=_bytes_of))
def _kept_draws(sizes: tuple[int, ...], replicates: int, seed: int) -> tuple[Draw, ...]:
    draws = tuple(_drawn(sizes, replicates, seed))
    for block, weights in draws:
        block.flags.writeable = weights.flags.writeable = False
    return draws


def _drawn(sizes: tuple[int, ...], replicates: int, seed: int) -> Iterator[Draw]:
    """Draw stratum after stratum with one generator; the first row of the weights draws every block once."""
    rng = np.random.default_rng(seed)
    for size in sizes:
        blocks = blocks_of(size)
        block = rng.permutation(size) % blocks
        drawn = rng.integers(0, blocks, (replicates, blocks)) + np.arange(replicates)[:, None] * blocks
        counts = np.bincount(drawn.ravel(), minlength=replicates * blocks).reshape(replicates, blocks)
        yield block, np.vstack([np.ones(blocks), counts])
