"""Families of gates: which of a run's losses and gains are more than noise, decided when all p-values are known.

The gates of a model that were compared are in two families, headlines and details, so that hundreds of details do not
hide a loss of a headline. Each family gets a share of alpha, and within it the procedure of Benjamini and Hochberg
decides; see `stats.multiplicity.adjusted`. Then the chance that a run calls anything a regression while nothing got
worse is at most alpha, and so is the expected share of false names among the gates that are called.

The p-value of a gate whose loss is below its tolerance counts as 1. Removing such gates after the decision would break
the second guarantee: of 20 correct calls and a false one, only the false one might remain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pytest_clip_robust.gates.explain import explain
from pytest_clip_robust.gates.record import ChangeRecord, Record, with_power
from pytest_clip_robust.gates.regression import Trend, reaches, trend_of
from pytest_clip_robust.gates.verdict import OF_TREND, Verdict
from pytest_clip_robust.stats.multiplicity import adjusted

Family = tuple[str, bool]
"""A model, and whether its headline gates are meant, or its details."""

QUIET = {Verdict.PASSED, Verdict.IMPROVED}
"""Verdicts that need no explanation."""


def decide(records: Sequence[Record], *, alpha: float, headline_share: float, strict: bool) -> list[Record]:
    """Return the records with their final trend, adjusted p-value, verdict and message, in the same order.

    Args:
        records: of all gates of a run; those that were not compared stay as they are.
        alpha: of the whole run, between 0 and 1.
        headline_share: the part of alpha for the headline gates, between 0 and 1; the details get the rest. Models
            share alpha equally.
        strict: whether a loss that is not significant fails too.
    """
    decided = list(records)
    members: dict[Family, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        if record.get("change"):
            members[record["model"], record["headline"]].append(place)
    shares = shares_of(members, headline_share=headline_share)
    for family, places in members.items():
        changes = [_changed(records[place]) for place in places]
        losses = [_loss(records[place]) for place in places]
        ends = {}
        for sign, name in ((1, "p_worse"), (-1, "p_better")):
            counted = [
                change[name] if reaches(sign * loss, change["tolerance"]) else 1.0  # type: ignore[literal-required]
                for change, loss in zip(changes, losses, strict=True)
            ]
            ends[sign] = adjusted(np.array(counted), share=shares[family])
        level = alpha * shares[family] / len(places)
        for i, place in enumerate(places):
            p = float(ends[1 if losses[i] > 0 else -1][i])
            trend = trend_of(losses[i], changes[i]["tolerance"], significant=p <= alpha)
            change = with_power(changes[i], n=records[place]["n"], alpha=level)
            change |= {"p_adjusted": p, "alpha": alpha, "trend": str(trend)}
            decided[place] = _judged_again(records[place], change, trend, strict=strict)
    return decided


def shares_of(families: Iterable[Family], *, headline_share: float) -> Mapping[Family, float]:
    """Return each family's share of alpha: models share it equally, and a family that is alone gets all of its model's.

    >>> shares_of([("a", True), ("a", False), ("b", False)], headline_share=0.5)
    {('a', True): 0.25, ('a', False): 0.25, ('b', False): 0.5}
    """
    known = list(families)
    models = len({model for model, _ in known})
    return {
        (model, headline): (
            1.0 if (model, not headline) not in known else headline_share if headline else 1 - headline_share
        )
        / models
        for model, headline in known
    }


def is_undecided(record: Record) -> bool:
    """Return whether the other gates of the run decide on this one."""
    change = record.get("change")
    return change is not None and change["trend"] == Trend.UNDECIDED


def _judged_again(before: Record, change: ChangeRecord, trend: Trend, *, strict: bool) -> Record:
    """Return the record with its final change; if it was undecided, and has not failed, also with its final verdict."""
    record: Record = {**before, "change": change}
    if is_undecided(before) and record["verdict"] != Verdict.BELOW_THRESHOLD:
        verdict = OF_TREND[trend]
        record["verdict"], record["failed"] = str(verdict), verdict.fails(strict=strict)
    record["message"] = "" if record["verdict"] in QUIET else explain(record)
    return record


def _loss(record: Record) -> float:
    change = _changed(record)
    return (change["value"] - record["value"]) * (1 if record["direction"] == "higher" else -1)


def _changed(record: Record) -> ChangeRecord:
    change = record["change"]
    assert change is not None  # noqa: S101 - members of families were compared
    return change
