"""False-alarm rates and power of the paired tests of means and of proportions.

    python benchmarks/levels.py [--runs 20000]

Prints Markdown tables. The tests of means are simulated. Neither model is better in the first table: rare large gains
make up for many small losses, the case in which Student's test raises too many alarms. The rates of the test of
proportions are exact: they are sums over the numbers of lost and gained samples. Rates are those of p_worse, one-sided.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from run import machine
from scipy.stats import binom, norm, poisson, ttest_1samp

from pytest_clip_robust.stats.paired import mcnemar, paired_t

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

LEVELS_OF_PROPORTIONS = (0.05, 0.01, 0.001, 0.0008)
EXPECTED = (3, 6, 10, 20, 40, 100)
"""Expected numbers of discordant pairs: samples on which exactly one of two models is correct."""

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of discordant pairs among all. Equally good models with independent errors have at most one half."""

MOST_DISCORDANT = 300
LOST_SHARE = 0.8
"""The share of lost pairs among the discordant ones of a model that is worse."""

HIGHEST_LEVEL, LOWEST_LEVEL = 0.05, 1e-5


def main() -> None:
    """Print false-alarm rates, then power; for means, then for proportions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=20_000, help="simulated pairs of models per row of means (default: 20000)"
    )
    options = parser.parse_args()
    print(f"{machine()}\n")
    for table in (alarms(options.runs), power(options.runs), *of_proportions()):
        for line in table:
            print(line, flush=True)
        print()


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


def of_proportions() -> Iterator[Iterator[str]]:
    """Yield the tables of the test of proportions: false alarms, power, and the levels with the most alarms."""
    discordant = np.arange(MOST_DISCORDANT)
    mid = [np.array([_mid_p(lost, n - lost) for lost in range(n + 1)]) for n in discordant]
    exact = [binom.sf(np.arange(n + 1) - 1, n, 0.5) for n in discordant]
    yield _table_of_proportions("expected discordant pairs", exact, mid, lost_share=0.5)
    yield _table_of_proportions(f"expected discordant pairs, {LOST_SHARE:.0%} lost", exact, mid, lost_share=LOST_SHARE)
    yield _worst_levels(mid)


def _mid_p(lost: int, gained: int) -> float:
    before, after = np.repeat([True, False, True], [lost, gained, 1]), np.repeat([False, True, True], [lost, gained, 1])
    return mcnemar(before, after).p_worse


def _table_of_proportions(
    title: str, exact: list[NDArray[np.float64]], mid: list[NDArray[np.float64]], *, lost_share: float
) -> Iterator[str]:
    """Yield a table of the exact test's and the mid-p's rates; a long data set, so numbers of pairs follow Poisson."""
    yield f"| {title} | " + " | ".join(f"level {level:.2%}: exact, mid-p" for level in LEVELS_OF_PROPORTIONS) + " |"
    yield "|---|" + "---|" * len(LEVELS_OF_PROPORTIONS)
    discordant = np.arange(MOST_DISCORDANT)
    for expected in EXPECTED:
        weights = poisson.pmf(discordant, expected)
        cells = []
        for level in LEVELS_OF_PROPORTIONS:
            rates = [weights @ _conditional(test, level, lost_share=lost_share) for test in (exact, mid)]
            cells.append(", ".join(f"{rate:.3%}" for rate in rates))
        yield f"| {expected} | " + " | ".join(cells) + " |"


def _worst_levels(mid: list[NDArray[np.float64]]) -> Iterator[str]:
    """Yield a table of the largest ratios of the mid-p's rate to its level, over data sets of 4 samples or more.

    The ratio jumps up where the level reaches a p-value that can occur and falls until the next, so these p-values are
    all levels that have to be tried.
    """
    occurring = np.unique(np.round(np.concatenate(mid), 12))
    every = occurring[(occurring >= LOWEST_LEVEL) & (occurring <= HIGHEST_LEVEL)]
    sets = {"rare (Poisson)": [poisson.pmf(np.arange(MOST_DISCORDANT), mean) for mean in _means(1)]}
    for share in SHARES:
        sizes = np.unique(np.round(_means(4 * share) / share))
        sets[f"{share:.0%}"] = [binom.pmf(np.arange(MOST_DISCORDANT), n, share) for n in sizes]
    levels = [*LEVELS_OF_PROPORTIONS, *every]
    ratios = np.array([_conditional(mid, level) / level for level in levels])
    some = len(LEVELS_OF_PROPORTIONS)
    yield (
        "| discordant pairs among all | "
        + " | ".join(f"level {level:.2%}" for level in LEVELS_OF_PROPORTIONS)
        + f" | any level from {LOWEST_LEVEL:.3%} to {HIGHEST_LEVEL:.0%} |"
    )
    yield "|---|" + "---|" * (some + 1)
    for name, weights in sets.items():
        largest = (ratios @ np.transpose(weights)).max(axis=1)
        cells = [*(f"{ratio:.3f}" for ratio in largest[:some]), f"{largest[some:].max():.3f}"]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _means(least: float) -> NDArray[np.float64]:
    """Return expected numbers of discordant pairs, so few that hardly any set has `MOST_DISCORDANT`."""
    return np.geomspace(least, MOST_DISCORDANT * 0.7, 150)


def _conditional(p_values: list[NDArray[np.float64]], level: float, *, lost_share: float = 0.5) -> NDArray[np.float64]:
    """Return the probability of a p-value at or below `level` for each number of discordant pairs.

    `p_values` are those of 0 to n lost pairs, for each number n of discordant pairs.
    """
    fewest = [np.searchsorted(-one, -level * (1 + 1e-9)) for one in p_values]
    return binom.sf(np.array(fewest) - 1, np.arange(len(p_values)), lost_share)


def _rates(changes: NDArray[np.float64], *, levels: tuple[float, ...] = LEVELS) -> list[str]:
    students = ttest_1samp(changes, 0, axis=1, alternative="less").pvalue
    before = np.zeros(changes.shape[1])
    corrected = np.array([paired_t(before, change).p_worse for change in changes])
    return [f"{(students <= level).mean():.3%}, {(corrected <= level).mean():.3%}" for level in levels]


if __name__ == "__main__":
    main()
