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
value can violate, gets no threshold, as passing it would say nothing. If that of its whole set would then apply to it,
it keeps its own, which is clipped to the range of the metric.

With the report of one model only, as for the multimodal one, s is 0: its thresholds cover the images and not the seed.

The section ``[thresholds]`` is rewritten. With ``--keep``, thresholds of gates that are not in the reports remain, so
that a subset of the suites can be run.
"""

from __future__ import annotations

import argparse
import math
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from scipy.stats import t

from pytest_clip_robust.cli.panel import panel_from
from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.record import IntervalRecord, Record
from pytest_clip_robust.gates.threshold import keys_for
from pytest_clip_robust.report.document import Document, read_report

CHANCE = 0.05
SMALL = 0.1
"""For bounds below it, 0.01 would be a large part of the value."""

SECTION = re.compile(r"^\[thresholds\]\n(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)

WORST = {
    "higher": ((r"gain_over|gain_where|fewer_templates", -1.0), (r"", 0.0)),
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
        gates = gates_of({path: read_report(path) for path in options.reports})
    except ReportError as error:
        parser.error(str(error))
    found = dict(zip(gates, bounds([*gates.values()]), strict=True))
    first = {key: records[0] for key, records in gates.items()}
    kept = {}
    if options.keep:
        old = dict(zip(tomllib.loads(text)["thresholds"], before[1].splitlines(keepends=True), strict=True))
        kept = {key: one for key, one in old.items() if key not in found}
    chosen = {key for key, bound in found.items() if says_something(first[key], bound)}
    covered = {key for key in set(found) - chosen if inherits(first[key], chosen | set(kept))}
    lines = kept | {key: line(first[key], found[key]) for key in chosen | covered}
    section = "[thresholds]\n" + "".join(lines[key] for key in sorted(lines))
    options.profile.write_text(SECTION.sub(lambda _: section, text), encoding="utf-8")
    print(f"{len(lines)} thresholds, of which these say nothing: {', '.join(sorted(covered)) or '-'}")
    print(f"no threshold, as none would say anything: {', '.join(sorted(set(found) - chosen - covered)) or '-'}")


def gates_of(reports: Mapping[Path, Document]) -> Mapping[str, Sequence[Record]]:
    """Return the records of each gate that was measured, of one model or of all checkpoints of a panel.

    Raises:
        ReportError: reports of several models do not make a panel.
    """
    if len(reports) > 1:
        return panel_from(reports).gates
    (document,) = reports.values()
    measured = [record for record in document["gates"] if "value" in record]
    if len({record["model"] for record in measured}) != 1:
        return panel_from(reports).gates  # of several models, or an error that says that there is none
    return {record["measurement"]: (record,) for record in measured}


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
    one = len(values) == 1
    between = np.zeros(len(sizes)) if one else values.var(axis=0, ddof=1) * (1 + 1 / len(values))
    within = 2 * np.square(errors).mean(axis=0)
    pieces = np.square(between) / max(len(values) - 1, 1) + np.square(within) / np.maximum(sizes - 1, 1)
    freedom = np.divide(np.square(between + within), pieces, out=np.full_like(between, np.inf), where=pieces > 0)
    return np.asarray(t.isf(chance, freedom) * np.sqrt(between + within))


def says_something(record: Record, bound: float) -> bool:
    """Return whether some value violates a bound that is rounded, and a model that guesses does not meet it."""
    lenient, worst, chance = rounded(record, bound), worst_value(record), record.get("chance")
    useless = [worst] if chance is None else [worst, chance]
    return all(lenient < end if record["direction"] == "lower" else lenient > end for end in useless)


def inherits(record: Record, keys: Collection[str]) -> bool:
    """Return whether a gate without a threshold of its own would get that of its set or metric."""
    _, *general = keys_for(record["metric"], record["dataset"], record["measurement"])
    return any(key in keys for key in general)


def line(record: Record, bound: float) -> str:
    """Return one line of the profile, with the bound clipped to the range of the metric."""
    lower, lenient, worst = record["direction"] == "lower", rounded(record, bound), worst_value(record)
    end = min(lenient, worst) if lower else max(lenient, worst)
    demand = f"{'at_most' if lower else 'at_least'} = {end:.{4 if abs(bound) < SMALL else 2}f}"
    return f'"{record["measurement"]}" = {{ {demand} }}\n'


def rounded(record: Record, bound: float) -> float:
    """Return a bound rounded to the lenient side, to two decimals, or four if it is small."""
    scale = 10_000 if abs(bound) < SMALL else 100
    exact = round(bound * scale, 6)
    return (math.ceil(exact) if record["direction"] == "lower" else math.floor(exact)) / scale


def worst_value(record: Record) -> float:
    """Return the worst value that the metric of a record can have."""
    return next(end for pattern, end in WORST[record["direction"]] if re.search(pattern, record["metric"]))


if __name__ == "__main__":
    main()
