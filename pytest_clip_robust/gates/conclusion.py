"""Conclusion of a run: may the model be released, and if not, which aspects of robustness are the reason?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

from pytest_clip_robust.gates.record import ChangeRecord, Record
from pytest_clip_robust.gates.regression import Trend
from pytest_clip_robust.gates.verdict import Verdict
from pytest_clip_robust.names import ASPECTS

NAMED = 3
"""Measurements, or tests, that the sentence names before it counts the others."""


class AspectChange(TypedDict):
    """An aspect that got worse, or better, with its most significant gate; `others` counts its further gates."""

    aspect: str
    measurement: str
    before: float
    value: float
    difference: float
    others: int


class Blind(TypedDict):
    """An aspect of which no gate can detect a loss of its tolerance, with the gate that comes nearest.

    detectable: the loss that the gate finds with a probability of 80 %. n: its samples. samples_needed: those with
    which it would find a loss of its tolerance; None if no number helps.
    """

    aspect: str
    measurement: str
    tolerance: float
    detectable: float
    n: int
    samples_needed: int | None


class Conclusion(TypedDict):
    """The result of one model.

    verdict: ``not judged`` if no gate has a threshold or something to compare with. aspects: how many were measured.
    below_threshold, errors, at_chance: names of measurements, or of tests that measured nothing.
    unclear: gates that are worse by at least the tolerance, which can be noise. sentence: all of it, for people.
    """

    model: str
    verdict: Literal["ready", "not ready", "not judged"]
    sentence: str
    aspects: int
    worse: list[AspectChange]
    better: list[AspectChange]
    below_threshold: list[str]
    errors: list[str]
    unclear: int
    blind: list[Blind]
    at_chance: list[str]


def conclude(records: Iterable[Record], *, obstacle: str = "", selected: bool = False) -> list[Conclusion]:
    """Return the conclusion of each model, in the order in which they were measured.

    Args:
        records: of all gates, after the decision on them.
        obstacle: why no model of this run is ready, besides its gates, or ``""``.
        selected: whether the run had only a part of the tests.
    """
    of_model: dict[str, list[Record]] = {}
    for record in records:
        of_model.setdefault(record["model"], []).append(record)
    return [_conclude(model, own, obstacle=obstacle, selected=selected) for model, own in of_model.items()]


def aspect_of(record: Record) -> str:
    """Return the aspect that a measurement belongs to: the first part of its metric's id."""
    return record["metric"].partition(".")[0]


def aspect_name(aspect: str) -> str:
    """Return the name of an aspect in sentences; an aspect of the user's own has its id as its name."""
    return ASPECTS.get(aspect, aspect)


def _conclude(model: str, records: Sequence[Record], *, obstacle: str, selected: bool) -> Conclusion:
    measured = [record for record in records if "metric" in record]
    judged = any(record["change"] is not None or record["threshold"] is not None for record in measured)
    failed = any(record["failed"] for record in records) or bool(obstacle)
    found: Conclusion = {
        "model": model,
        "verdict": "not ready" if failed else "ready" if judged else "not judged",
        "sentence": "",
        "aspects": len({aspect_of(record) for record in measured}),
        "worse": _changes(measured, Trend.WORSE),
        "better": _changes(measured, Trend.BETTER),
        "below_threshold": _named(records, Verdict.BELOW_THRESHOLD),
        "errors": _named(records, Verdict.ERROR),
        "unclear": sum(_trend(record) == Trend.UNCLEAR for record in measured),
        "blind": _blind(measured),
        "at_chance": [record["measurement"] for record in measured if record["at_chance"]],
    }
    found["sentence"] = _sentence(found, obstacle=obstacle, selected=selected)
    return found


def _trend(record: Record) -> str:
    change = record["change"]
    return "" if change is None else change["trend"]


def _named(records: Sequence[Record], verdict: Verdict) -> list[str]:
    return [record["measurement"] for record in records if record["verdict"] == verdict and record["failed"]]


def _changes(measured: Sequence[Record], trend: Trend) -> list[AspectChange]:
    """Return the aspects with gates of this trend; headlines speak for their aspect before details do."""
    changed: dict[str, list[tuple[Record, ChangeRecord]]] = {}
    for record in measured:
        change = record["change"]
        if change is not None and change["trend"] == trend and (record["failed"] or trend is not Trend.WORSE):
            changed.setdefault(aspect_of(record), []).append((record, change))
    found: list[AspectChange] = []
    for aspect, pairs in changed.items():
        record, change = min(pairs, key=lambda pair: _weight(*pair))
        found.append(
            {
                "aspect": aspect,
                "measurement": record["measurement"],
                "before": change["value"],
                "value": record["value"],
                "difference": change["difference"],
                "others": len(pairs) - 1,
            }
        )
    return found


def _weight(record: Record, change: ChangeRecord) -> tuple[bool, float, str]:
    """Return a sort key: headlines before details, then the most significant change."""
    return not record["headline"], min(change["p_worse"], change["p_better"]), record["measurement"]


def _blind(measured: Sequence[Record]) -> list[Blind]:
    """Return the aspects of which every headline gate, or every gate if there is no headline, is blind."""
    aspects: dict[str, list[Blind]] = {}
    for aspect in dict.fromkeys(map(aspect_of, measured)):
        own = [record for record in measured if aspect_of(record) == aspect and record["change"] is not None]
        gates = [record for record in own if record["headline"]] or own
        aspects[aspect] = [_sight(record, record["change"]) for record in gates if record["change"] is not None]
    nearest = [min(sights, key=_distance) for sights in aspects.values() if sights]
    return [one for one in nearest if _distance(one) > 1]


def _sight(record: Record, change: ChangeRecord) -> Blind:
    return {
        "aspect": aspect_of(record),
        "measurement": record["measurement"],
        "tolerance": change["tolerance"],
        "detectable": change["minimum_detectable_effect"] or 0.0,
        "n": record["n"],
        "samples_needed": change["samples_needed"],
    }


def _distance(sight: Blind) -> float:
    """Return the detectable loss in tolerances."""
    return sight["detectable"] / sight["tolerance"] if sight["tolerance"] > 0 else float("inf")


def _sentence(found: Conclusion, *, obstacle: str, selected: bool) -> str:
    aspects = f"{found['aspects']} aspect{'' if found['aspects'] == 1 else 's'}"
    clauses = []
    if found["worse"]:
        clauses.append(f"{len(found['worse'])} of {aspects} got worse: {_list_changes(found['worse'])}")
    if found["below_threshold"]:
        clauses.append(f"outside its threshold: {_list_names(found['below_threshold'])}")
    if found["errors"]:
        clauses.append(f"not measured: {_list_names(found['errors'])}")
    if obstacle:
        clauses.append(obstacle)
    noise = f"{found['unclear']} loss{'' if found['unclear'] == 1 else 'es'} of at least the tolerance can be noise"
    if not clauses and found["verdict"] == "not judged":
        clauses.append("no gate has a threshold or something to compare with")
    elif not clauses and found["verdict"] == "not ready":
        clauses.append(f"{noise}, and --clip-strict fails that")
    elif not clauses:
        clauses += [f"0 of {aspects} got worse", *([noise] if found["unclear"] else [])]
    if found["better"]:
        clauses.append(f"better: {_list_changes(found['better'])}")
    scope = ", as far as the selected tests tell" if selected and found["verdict"] != "not judged" else ""
    return f"{found['verdict']}{scope}: {'; '.join(clauses)}"


def _list_changes(changes: Sequence[AspectChange]) -> str:
    return ", ".join(
        f"{aspect_name(one['aspect'])} ({one['measurement']} {one['difference']:+.3f}"
        f"{f', and {others} more' if (others := one['others']) else ''})"
        for one in changes
    )


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
