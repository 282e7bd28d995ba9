"""Thresholds of the showroom's profile, derived from runs of a panel: the default model and its twins.

    pytest --model showroom-clip --clip-report=report-0          # and so on for each twin
    python -m showroom.thresholds ../suites/profiles/showroom.toml report-*/report.json

Twins are trained by the recipe of the default model with other seeds. A threshold is the bound that the value of one
further twin, on other images of the same kind, violates with a probability of `CHANCE` over the number of gates: a run
of such a twin violates any of them with a probability of at most `CHANCE`, and a checkpoint that does so differs from
the panel by more than the seed and the images explain. From the mean of the panel, the bound is

    t * sqrt(s^2 * (1 + 1/K) + 2 * e^2)

away, where s is the standard deviation of the K values, and e the standard error from sampling images, which counts for
the images of the panel and for the others. Student's t has the degrees of freedom of Satterthwaite (1946). A bound is
rounded to the lenient side, to two decimals, or four below 0.1. A gate whose bound is no better than chance, or that no
value can violate, gets no threshold, as passing it would say nothing.

The section ``[thresholds]`` is rewritten. With ``--keep``, thresholds of gates that are not in the reports remain, so
that a subset of the suites can be run.
"""

from __future__ import annotations

import argparse
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from scipy.stats import t

from pytest_clip_robust.cli.panel import panel_from
from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.record import IntervalRecord, Record
from pytest_clip_robust.report.document import read_report

CHANCE = 0.05
SMALL = 0.1
"""For bounds below it, 0.01 would be a large part of the value."""

SECTION = re.compile(r"^\[thresholds\]\n(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)

WORST = {
    "higher": ((r"gain_over_blind|fewer_templates", -1.0), (r"", 0.0)),
    "lower": ((r"brier", 2.0), (r"nll|rank|error_ratio|mce_alexnet|features\.", math.inf), (r"", 1.0)),
}
"""The worst value that a metric can have, by direction: of the first pattern that is found in its id."""


def main() -> None:
    """Write the thresholds of a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", type=Path)
    parser.add_argument("reports", type=Path, nargs="+", metavar="report.json")
    parser.add_argument("--keep", action="store_true", help="keep thresholds of gates that are not in the reports")
    options = parser.parse_args()
    text = options.profile.read_text(encoding="utf-8")
    before = SECTION.search(text)
    if before is None:
        parser.error(f"{options.profile} has no section [thresholds]")
    try:
        panel = panel_from({path: read_report(path) for path in options.reports})
    except ReportError as error:
        parser.error(str(error))
    found = {
        key: line(records[0], bound)
        for (key, records), bound in zip(panel.gates.items(), bounds([*panel.gates.values()]), strict=True)
    }
    kept = {}
    if options.keep:
        kept = dict(zip(tomllib.loads(text)["thresholds"], before[1].splitlines(keepends=True), strict=True))
    lines = kept | found
    section = "[thresholds]\n" + "".join(lines[key] for key in sorted(lines))
    options.profile.write_text(SECTION.sub(lambda _: section, text), encoding="utf-8")
    useless = [key for key, one in found.items() if not one]
    print(
        f"{len(lines) - len(useless)} thresholds; without one, as no bound says anything: {', '.join(useless) or '-'}"
    )


def bounds(gates: Sequence[Sequence[Record]]) -> Floats:
    """Return the (G,) bounds of G gates, each measured on the same K checkpoints."""
    values = np.array([[record["value"] for record in records] for records in gates]).T
    errors = np.array([[standard_error(record["interval"]) for record in records] for records in gates]).T
    sizes = np.array([records[0]["n"] for records in gates])
    signs = np.array([1 if records[0]["direction"] == "higher" else -1 for records in gates])
    return values.mean(axis=0) - signs * margins(values, errors, sizes, chance=CHANCE / len(gates))


def standard_error(interval: IntervalRecord) -> float:
    """Return the standard error of a value from its confidence interval, as if that were a normal one."""
    return (interval["high"] - interval["low"]) / (2 * float(ndtri(0.5 + interval["level"] / 2)))


def margins(values: Floats, errors: Floats, sizes: Floats, *, chance: float) -> Floats:
    """Return how much worse than the mean of (K, G) `values` a further checkpoint is with a probability of `chance`.

    errors: (K, G) standard errors. sizes: (G,) numbers of samples.
    """
    between = values.var(axis=0, ddof=1) * (1 + 1 / len(values))
    within = 2 * np.square(errors).mean(axis=0)
    pieces = np.square(between) / (len(values) - 1) + np.square(within) / np.maximum(sizes - 1, 1)
    freedom = np.divide(np.square(between + within), pieces, out=np.full_like(between, np.inf), where=pieces > 0)
    return np.asarray(t.isf(chance, freedom) * np.sqrt(between + within))


def line(record: Record, bound: float) -> str:
    """Return one line of the profile, or ``""`` for a bound that says nothing about a value."""
    lower = record["direction"] == "lower"
    scale = 100 if abs(bound) >= SMALL else 10_000
    exact = round(bound * scale, 6)
    lenient = (math.ceil(exact) if lower else math.floor(exact)) / scale
    worst = next(end for pattern, end in WORST[record["direction"]] if re.search(pattern, record["metric"]))
    chance = record.get("chance")
    useless = [worst] if chance is None else [worst, chance]
    if any(lenient >= end if lower else lenient <= end for end in useless):
        return ""
    demand = f"{'at_most' if lower else 'at_least'} = {lenient:.{2 if scale == 100 else 4}f}"
    return f'"{record["measurement"]}" = {{ {demand} }}\n'


if __name__ == "__main__":
    main()
