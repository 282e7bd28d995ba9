"""Explanation of a judgement: the lines that a failing gate prints."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clip_robust.gates.record import ChangeRecord, FlipRecord, MissRecord, Record, p_value
from pytest_clip_robust.gates.regression import Trend
from pytest_clip_robust.system.text import printable

MISSES_SHOWN = 10


def explain(record: Record) -> str:
    """Return what is wrong with a value, what it was compared with, the uncertainty, and the samples involved.

    `record` is one of `record_judgement`, before or after the decision at the end of the run.
    """
    return "\n".join(map(printable, _lines(record)))


def _lines(record: Record) -> list[str]:
    if record["objection"]:
        return [f"{record['measurement']} = {record['value']:.4f}: {record['objection']}"]
    interval, change = record["interval"], record["change"]
    lines = [
        f"{record['measurement']} = {record['value']:.4f} {_headline(record)}",
        f"  interval    {_range(interval['low'], interval['high'])} ({interval['level']:.0%} {interval['method']})",
        f"  n           {record['n']:,}",
        *_threshold_lines(record),
    ]
    if change is not None:
        lines += _change_lines(record, change)
    if record["chance"] is not None:
        guessed = "; the value is no better than guessing" if record["at_chance"] else ""
        lines.append(f"  chance      {record['chance']:.4g}{guessed}")
    if record["remark"]:
        lines.append(f"  remark      {record['remark']}")
    lines += [f"  {name:<11} {value:.4g}" for name, value in record["details"].items()]
    if change is not None and change["flips"]:
        return lines + _flip_lines(change["flips"])
    return lines + _miss_lines(record["misses"][:MISSES_SHOWN])


def _headline(record: Record) -> str:
    change, bound = record["change"], record["bound"]
    clauses = []
    if change is not None and change["trend"] in {Trend.WORSE, Trend.UNCLEAR}:
        doubt = ", but not significantly" if change["trend"] == Trend.UNCLEAR else ""
        clauses.append(f"is worse than {change['value']:.4f} of {change['since']}{doubt}")
    if bound is not None and not record["admitted"]:
        clauses.append(f"is {'below' if record['value'] < bound else 'above'} its threshold {bound:.4f}")
    if change is not None and change["trend"] == Trend.BETTER:
        clauses.append(f"is better than {change['value']:.4f} of {change['since']}")
    return " and ".join(clauses)


def _threshold_lines(record: Record) -> list[str]:
    bound = record["bound"]
    if bound is None:
        return []
    noise = (
        "within the noise: the threshold is inside the interval, so other samples could change the verdict"
        if record["within_noise"]
        else "more than the noise: the threshold is outside the interval"
    )
    return [
        f"  threshold   {record['threshold']} ({record['threshold_source']})",
        f"  margin      {record['value'] - bound:+.4f}, {noise}",
    ]


def _change_lines(record: Record, change: ChangeRecord) -> list[str]:
    band = f"{change['low']:+.4f} to {change['high']:+.4f}"
    lines = [
        f"  baseline    {change['value']:.4f} ({change['since']})",
        f"  difference  {change['difference']:+.4f}, {band} (95% {change['method']})",
        f"  p           {p_value(record, change):.2g} ({change['test']}){_adjustment(record, change)}",
    ]
    tolerance, detectable = change["tolerance"], change["minimum_detectable_effect"]
    if detectable is None:
        return [*lines, f"  tolerance   {tolerance:.4g}"]
    lines.append(f"  tolerance   {tolerance:.4g}; smallest detectable loss {detectable:.4g} (power 80%)")
    if detectable > tolerance:
        needed = change["samples_needed"]
        way_out = "" if needed is None else f"; it takes about {needed:,}"
        lines.append(f"              too few samples to detect a loss of the size of the tolerance{way_out}")
    return lines


def _adjustment(record: Record, change: ChangeRecord) -> str:
    if change["p_adjusted"] is not None:
        family = "headline" if record["headline"] else "detail"
        adjusted = f"adjusted for all {family} gates {change['p_adjusted']:.2g}"
        return f", {adjusted}, significant at {change['alpha']:.2g} or less"
    if change["minimum_detectable_effect"] is None:
        return ", judged with the other gates at the end of the run"
    return f", significant at {change['alpha']:.2g} or less"


def _flip_lines(flips: Sequence[FlipRecord]) -> list[str]:
    if not flips[0]["truth"]:
        return ["  correct before, wrong now:", *(f"    {printable(flip['sample'])}" for flip in flips)]
    names = [
        [printable(text) for text in (flip["sample"], flip["truth"], flip["before"], flip["after"])] for flip in flips
    ]
    widths = [max(len(row[column]) for row in names) for column in range(4)]
    lines = ["  correct before, wrong now; largest loss of confidence in the true class first:"]
    for flip, (sample, truth, before, after) in zip(flips, names, strict=True):
        lines.append(
            f"    {sample:<{widths[0]}}  true {truth:<{widths[1]}}  "
            f"before {before:<{widths[2]}} ({flip['confidence_before'] or 0.0:4.0%})  "
            f"now {after:<{widths[3]}} ({flip['confidence_after'] or 0.0:4.0%})"
        )
    return lines


def _miss_lines(misses: Sequence[MissRecord]) -> list[str]:
    if not misses:
        return []
    sample = max(len(printable(miss["sample"])) for miss in misses)
    truth = max(len(printable(miss["truth"])) for miss in misses)
    return [
        "  wrong decisions, most confident first:",
        *(
            f"    {printable(miss['sample']):<{sample}}  true {printable(miss['truth']):<{truth}}  "
            f"predicted {printable(miss['predicted'])} ({miss['confidence']:.1%})"
            for miss in misses
        ),
    ]


def _range(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}"
