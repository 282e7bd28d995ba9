"""Simulation of the paired test of means: its false-alarm rate on skewed losses, and its power.

    python benchmarks/levels.py [--runs 20000]

Prints Markdown tables. Neither model is better in the first table: rare large gains make up for many small losses, the
case in which Student's test raises too many alarms. Rates are those of p_worse, one-sided.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from run import machine
from scipy.stats import norm, ttest_1samp

from pytest_clip_robust.stats.paired import paired_t

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

NULLS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "difference of two lognormals": lambda rng, shape: rng.lognormal(0, 1, shape) - rng.lognormal(0, 1, shape),
    "exponential gains": lambda rng, shape: rng.exponential(1, shape) - 1,
    "gamma(0.3) gains": lambda rng, shape: rng.gamma(0.3, 1, shape) - 0.3,
    "lognormal(1.3) gains": lambda rng, shape: rng.lognormal(0, 1.3, shape) - np.exp(1.3**2 / 2),
}
LEVELS = (0.05, 0.01, 0.05 / 60)
SIZES = (24, 40, 200, 1000)


def main() -> None:
    """Print the false-alarm rates, then the power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="simulated pairs of models per row (default: 20000)")
    options = parser.parse_args()
    print(f"{machine()}\n")
    for line in (*alarms(options.runs), "", *power(options.runs)):
        print(line, flush=True)


def alarms(runs: int) -> Iterator[str]:
    """Yield a table of the shares of runs in which either test calls a loss although there is none."""
    yield "| changes | n | " + " | ".join(f"level {level:.3%}: Student, corrected" for level in LEVELS) + " |"
    yield "|---|---|" + "---|" * len(LEVELS)
    for name, draw in NULLS.items():
        for n in SIZES:
            yield f"| {name} | {n} | " + " | ".join(_rates(draw(np.random.default_rng(n), (runs, n)))) + " |"


def power(runs: int) -> Iterator[str]:
    """Yield a table of the shares of runs that find a loss that Student's test finds in four of five runs."""
    yield "| normal changes with a true loss | n | " + " | ".join(f"level {level:.3%}" for level in LEVELS) + " |"
    yield "|---|---|" + "---|" * len(LEVELS)
    for n in SIZES:
        cells = []
        for level in LEVELS:
            loss = (norm.isf(level) + norm.isf(0.2)) / n**0.5
            changes = np.random.default_rng(n).normal(size=(max(runs // 4, 1), n)) - loss
            cells.append(_rates(changes, levels=(level,))[0])
        yield f"| Student, corrected | {n} | " + " | ".join(cells) + " |"


def _rates(changes: NDArray[np.float64], *, levels: tuple[float, ...] = LEVELS) -> list[str]:
    students = ttest_1samp(changes, 0, axis=1, alternative="less").pvalue
    before = np.zeros(changes.shape[1])
    corrected = np.array([paired_t(before, change).p_worse for change in changes])
    return [f"{(students <= level).mean():.3%}, {(corrected <= level).mean():.3%}" for level in levels]


if __name__ == "__main__":
    main()
