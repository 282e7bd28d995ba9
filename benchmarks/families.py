"""Simulation of whole runs: how often they are red, and which gates they name.

    python benchmarks/families.py [--runs 2000] [--loss-runs 300] [--runs-everywhere 100] [--workers 2]

Prints Markdown tables. Each run compares two models at the 406 gates of `simulated_showroom`, 25 headlines and 381
details, with their tolerances and the p-values of the package. Neither model is better in the null runs. In the others
the second one has more noise, so that it loses 1, 2 or 5 percentage points of accuracy, on one shifted set or on all.
Two equally good models on the same samples make two null runs, one in each direction.

The decision of the package, the procedure of Benjamini and Hochberg in two families, is compared with Bonferroni's over
all gates. To save time, a loss that is far from significant, or far beyond, is tested with fewer bootstrap replicates.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from run import machine
from scipy.stats import norm
from simulated_showroom import (
    ID_SPREAD,
    OWN_NOISE,
    SHIFT_SIZE,
    SHIFTS,
    Model,
    Samples,
    leave_out_intervals,
    measure,
    of_shift,
)
from threadpoolctl import threadpool_limits

from pytest_clip_robust.core.evidence import Evidence
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.gates.regression import reaches
from pytest_clip_robust.stats.multiplicity import adjusted
from pytest_clip_robust.stats.paired import compare, unpaired
from pytest_clip_robust.stats.resampling import resample

ALPHA = 0.05
HEADLINE_SHARE = 0.5
LOSSES = (0.01, 0.02, 0.05)
CHANGED = "line"
"""The shifted set on which a model loses accuracy."""

MANY = 2000
FEW_REPLICATES, OBVIOUS = 100, 6.0
"""Losses of more than 6 standard errors (p = 1e-9) are called by either procedure, so few replicates decide them."""

INSIGNIFICANT = {True: 1.5, False: 2.0}
"""Smaller losses of headlines and of details, in standard errors, are called by neither procedure.

A headline needs a p-value below 0.025; a detail of 2 standard errors has one of 0.023, with which it is called only if
300 others are. A standard error from a few replicates errs by 7 %.
"""

NULL = "nothing"
MOST_CALLED = 12
UNCHANGED_PREFIXES = ("correspondence.", "composition.text_only")
"""Metrics of answers that stay as good in the simulation if a model gets worse everywhere."""

Gates = Mapping[str, Measurement]
PValues = dict[str, float]


class Scenario(NamedTuple):
    """What got worse: a loss (0-1) of accuracy on `where`, with `size` samples of the changed set, 0 for the usual."""

    where: str
    loss: float = 0.0
    size: int = 0


class Outcome(NamedTuple):
    """What one correction made of a run: the number of gates called, and the names of those that did not get worse."""

    called: int
    wrongly: tuple[str, ...]


Outcomes = list[dict[str, Outcome]]
"""For each run on the same samples, what each correction made of it."""


def main() -> None:
    """Simulate the runs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="null runs, two per pair of models (default: 2000)")
    parser.add_argument("--loss-runs", type=int, default=300, help="runs per loss on one set (default: 300)")
    parser.add_argument("--runs-everywhere", type=int, default=100, help="runs per loss on all sets (default: 100)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    options = parser.parse_args()
    if max(options.loss_runs, options.runs_everywhere) > options.runs // 2:
        parser.error(f"--loss-runs and --runs-everywhere: expected at most half of --runs, {options.runs // 2}")
    print(f"{machine()}\n", flush=True)
    started = time.perf_counter()
    noises = {("one", loss): noise_for(loss, SHIFTS[CHANGED]) for loss in LOSSES}
    noises |= {("all", loss): noise_for(loss, ID_SPREAD) for loss in LOSSES}
    found: dict[Scenario, list[Outcomes]] = defaultdict(list)
    task = partial(simulate, noises=noises, loss_runs=options.loss_runs, runs_everywhere=options.runs_everywhere)
    with multiprocessing.Pool(options.workers, initializer=prepare) as pool:
        for pair, outcomes in enumerate(pool.imap_unordered(task, range(options.runs // 2)), start=1):
            for scenario, of_runs in outcomes.items():
                found[scenario].append(of_runs)
            if pair % 50 == 0:
                red = [
                    sum(run[name].called > 0 for runs in found[Scenario(NULL)] for run in runs) for name in CORRECTIONS
                ]
                print(f"<!-- {2 * pair} null runs, {red} red, {time.perf_counter() - started:.0f} s -->", flush=True)
    print()
    for line in (*table(found), "", *falsely_called(found[Scenario(NULL)])):
        print(line)


def prepare() -> None:
    """Set up a process that simulates runs."""
    threadpool_limits(1)
    leave_out_intervals()


def simulate(
    pair: int, *, noises: Mapping[tuple[str, float], float], loss_runs: int, runs_everywhere: int
) -> dict[Scenario, Outcomes]:
    """Simulate the runs of one pair of models; with losses too, if it is among the first pairs."""
    samples = Samples(pair)
    before, null = (measure(Model(samples, seed)) for seed in (1, 2))
    p_null = p_values(before, null)
    found = {Scenario(NULL): [decide(null, p_null), decide(before, p_values(null, before))]}
    for size in (0, MANY) if pair < loss_runs else ():
        drawn = Samples(pair, {CHANGED: size} if size else {})
        one = of_changed(Model(drawn, 1))
        for loss in LOSSES:
            other = of_changed(Model(drawn, 2, {CHANGED: noises["one", loss]}))
            decided = decide({**null, **other}, {**p_null, **p_values(one, other)}, worse=set(other))
            found[Scenario("one", loss, size)] = [decided]
    for loss in LOSSES if pair < runs_everywhere else ():
        after = measure(Model(samples, 2, {"": noises["all", loss]}))
        worse = {name for name, one in after.items() if not one.metric.startswith(UNCHANGED_PREFIXES)}
        found[Scenario("all", loss)] = [decide(after, p_values(before, after), worse=worse)]
    return found


def of_changed(model: Model) -> Gates:
    """Return the gates of the set on which the second model can be worse."""
    return {gate.key: gate for gate in of_shift(model, CHANGED)}


def p_values(before: Gates, after: Gates) -> PValues:
    """Return the one-sided p-value of each gate, 1 for a loss that does not reach the tolerance."""
    return {name: p_value(before[name], one) for name, one in after.items()}


def p_value(before: Measurement, after: Measurement) -> float:
    """Return the p-value of the test that a gate would choose."""
    difference = after.value - before.value
    if not reaches(-difference if after.direction == "higher" else difference, after.tolerance):
        return 1.0
    if after.evidence is None or before.evidence is None:
        ends = ((one.value, one.interval) for one in (before, after))
        return unpaired(*ends, direction=after.direction).p_worse
    if after.evidence.test != "auroc":
        error = rough_error(before.evidence, after.evidence)
        z = abs(difference) / error if error > 0 else np.nan
        if z < INSIGNIFICANT[after.headline] or (z > OBVIOUS and after.evidence.test == "sums"):
            return float(norm.sf(z))
    return compare(before.evidence, after.evidence, direction=after.direction, difference=difference).p_worse


def rough_error(before: Evidence, after: Evidence) -> float:
    """Return the standard error of the difference between two means, or of two statistics from a few replicates."""
    with np.errstate(all="ignore"):
        if after.test == "sums":
            new, old = resample(after, before, replicates=FEW_REPLICATES)
            return float(np.nanstd(new[1:] - old[1:]))
        old, new = (one.strata[0].columns["outcome"].astype(np.float64) for one in (before, after))
        return float((new - old).std() / len(new) ** 0.5)


def decide(gates: Gates, p: PValues, *, worse: AbstractSet[str] = frozenset()) -> dict[str, Outcome]:
    """Return what each correction makes of a run; `worse` are the names of the gates that truly got worse."""
    values = np.array([p[name] for name in gates])
    headline = np.array([one.headline for one in gates.values()])
    true = np.array([name in worse for name in gates])
    names = np.array(list(gates))
    called = {name: correction(values, headline) for name, correction in CORRECTIONS.items()}
    return {name: Outcome(int(one.sum()), tuple(names[one & ~true].tolist())) for name, one in called.items()}


def in_two_families(p: NDArray[np.float64], headline: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which gates are called by Benjamini and Hochberg's procedure in two families."""
    adjusted_p = np.empty(len(p))
    adjusted_p[headline] = adjusted(p[headline], share=HEADLINE_SHARE)
    adjusted_p[~headline] = adjusted(p[~headline], share=1 - HEADLINE_SHARE)
    return adjusted_p <= ALPHA


CORRECTIONS: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], NDArray[np.bool_]]] = {
    "two families, Benjamini-Hochberg": in_two_families,
    "Bonferroni": lambda p, _: p <= ALPHA / len(p),
}


def noise_for(loss: float, spread: float) -> float:
    """Return the noise with which a model loses accuracy (0-1) on samples of this spread, on 48,000 of them."""
    latent, labels = Samples(0).classified("calibration", 48_000, spread)

    def accuracy(noise: float) -> float:
        found = Model(Samples(0), seed=1, noises={"": noise}).predictions("calibration", latent, labels)
        return float((found.logits.argmax(axis=1) == labels).mean())

    wanted, low, high = accuracy(OWN_NOISE) - loss, OWN_NOISE, 4 * OWN_NOISE
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy(middle) > wanted else (low, middle)
    return (low + high) / 2


def table(found: Mapping[Scenario, Sequence[Outcomes]]) -> Iterator[str]:
    """Yield the shares of red runs, the shares of false names, and the numbers of gates called."""
    yield "| what got worse | loss of accuracy | runs | correction | red runs | false names | gates called |"
    yield "|---|---|---|---|---|---|---|"
    order = (NULL, "one", "all")
    for scenario in sorted(found, key=lambda one: (order.index(one.where), one.size, one.loss)):
        for name in CORRECTIONS:
            runs = [[run[name] for run in runs] for runs in found[scenario]]
            cells = [
                in_words(scenario),
                f"{scenario.loss:.0%}" if scenario.loss else "",
                f"{sum(map(len, runs)):,}",
                name,
                with_error(runs, lambda one: one.called > 0),
                with_error(runs, lambda one: len(one.wrongly) / max(one.called, 1)),
                f"{np.mean([one.called for of_pair in runs for one in of_pair]):.2f}",
            ]
            yield f"| {' | '.join(cells)} |"


def falsely_called(null: Sequence[Outcomes]) -> Iterator[str]:
    """Yield a table of the gates that were called most often in runs in which nothing got worse."""
    yield "| called although nothing got worse | correction | runs |"
    yield "|---|---|---|"
    for name in CORRECTIONS:
        counted = Counter(gate for runs in null for run in runs for gate in run[name].wrongly)
        for gate, n in counted.most_common(MOST_CALLED):
            yield f"| {gate} | {name} | {n} |"


def in_words(scenario: Scenario) -> str:
    """Return what got worse, for people."""
    if scenario.where == NULL:
        return "nothing"
    if scenario.where == "all":
        return "all sets"
    return f"one shifted set, {scenario.size or SHIFT_SIZE:,} images"


def with_error(runs: Sequence[Sequence[Outcome]], number: Callable[[Outcome], float]) -> str:
    """Return the mean of a number over runs with its standard error, in percent; runs on the same samples are one."""
    means = np.array([np.mean([number(one) for one in of_pair]) for of_pair in runs])
    return f"{means.mean():.1%} ± {means.std() / len(means) ** 0.5:.1%}"


if __name__ == "__main__":
    main()
