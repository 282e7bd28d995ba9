"""The paired bootstrap of anything that is computed from sums over samples.

Samples are dealt at random into at most 1,000 blocks a stratum, and blocks are resampled. Block sums of independent
samples are independent, so that this is a bootstrap like any other, whose standard error is known to 1/sqrt(2 * 1000);
and with 50,000 samples it is one small matrix product. Up to 1,000 samples every block is a single sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Evidence, Term
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.bootstrap import SEED

BLOCKS = 1000
REPLICATES = 1000


def resample(*models: Evidence, replicates: int = REPLICATES, seed: int = SEED) -> list[Floats]:
    """Return each model's statistic, (1 + B, ...): first on all samples, then on B replicates of them.

    Each stratum is resampled on its own, and every replicate draws the same samples for all models.

    Raises:
        MeasurementError: the models' evidence is not about the same samples, or not for a test of sums.
    """
    terms, statistic = models[0].terms, models[0].statistic
    if terms is None or statistic is None:
        raise MeasurementError(f"evidence for the test {models[0].test!r} has no statistic to resample")
    shapes = [one.shape() for one in models]
    if any(shape != shapes[0] for shape in shapes):
        raise MeasurementError(f"evidence of {' and of '.join(map(str, shapes))} samples cannot be paired")
    rng = np.random.default_rng(seed)
    sums: list[list[list[Floats]]] = [[] for _ in models]
    for strata in zip(*(one.strata for one in models), strict=True):
        blocks = blocks_of(len(strata[0]))
        block = rng.permutation(len(strata[0])) % blocks
        weights = _draws(blocks, replicates, rng)
        for found, stratum in zip(sums, strata, strict=True):
            found.append([weights @ block_sums(term, block, blocks) for term in terms(stratum.columns)])
    return [statistic(found) for found in sums]


def blocks_of(samples: int) -> int:
    """Return how many blocks so many samples are dealt into."""
    return min(samples, BLOCKS)


def value_of(evidence: Evidence) -> float:
    """Compute from all its samples the value of evidence for a test of sums."""
    return float(resample(evidence, replicates=0)[0][0])


def block_sums(term: Term, block: NDArray[np.int64], blocks: int) -> Floats:
    """Return (blocks, size) sums of a term's weights."""
    place = block if term.cell is None else block * term.size + term.cell
    found = np.bincount(place, weights=term.weight, minlength=blocks * term.size)
    return found.reshape(blocks, term.size).astype(np.float64)


def _draws(blocks: int, replicates: int, rng: np.random.Generator) -> Floats:
    """Return how often each replicate draws each block, (1 + replicates, blocks); the first draws every block once."""
    drawn = rng.integers(0, blocks, (replicates, blocks)) + np.arange(replicates)[:, None] * blocks
    counts = np.bincount(drawn.ravel(), minlength=replicates * blocks).reshape(replicates, blocks)
    return np.vstack([np.ones(blocks), counts])
