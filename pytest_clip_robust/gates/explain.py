"""Explanation of a judgement: the lines that a failing gate prints."""

from __future__ import annotations

from pytest_clip_robust.core.measurement import Measurement, Miss
from pytest_clip_robust.gates.regression import Change, Flip
from pytest_clip_robust.gates.threshold import Threshold
from pytest_clip_robust.gates.verdict import Judgement, Verdict
from pytest_clip_robust.system.text import printable

MISSES_SHOWN = 10


def explain(judgement: Judgement) -> str:
    """Return what is wrong with a value, what it was compared with, the uncertainty, and the samples involved."""
    found = judgement.measurement
    if judgement.objection:
        return f"{found.key} = {found.value:.4f}: {judgement.objection}"
    lines = [f"{found.key} = {found.value:.4f} {_headline(judgement)}"]
    lines.append(f"  interval    {_range(found.interval.low, found.interval.high)} ({_level(found)})")
    lines.append(f"  n           {found.n:,}")
    if judgement.threshold is not None:
        lines += _threshold_lines(judgement, judgement.threshold)
    if judgement.change is not None:
        lines += _change_lines(judgement.change)
    if found.remark:
        lines.append(f"  remark      {found.remark}")
    lines += [f"  {name:<11} {value:.4g}" for name, value in found.details.items()]
    if judgement.change is not None and judgement.change.flips:
        return "\n".join([*lines, *_flip_lines(judgement.change.flips)])
    return "\n".join([*lines, *_miss_lines(found.misses[:MISSES_SHOWN])])


def _headline(judgement: Judgement) -> str:
    change, threshold, value = judgement.change, judgement.threshold, judgement.measurement.value
    clauses = []
    if change is not None and judgement.verdict in {Verdict.REGRESSED, Verdict.INCONCLUSIVE}:
        doubt = ", but not significantly" if judgement.verdict is Verdict.INCONCLUSIVE else ""
        clauses.append(f"is worse than {change.baseline.value:.4f} of {change.baseline.name}{doubt}")
    if threshold is not None and not threshold.admits(value):
        bound = threshold.bound_for(value)
        clauses.append(f"is {'below' if value < bound else 'above'} its threshold {bound:.4f}")
    if change is not None and judgement.verdict is Verdict.IMPROVED:
        clauses.append(f"is better than {change.baseline.value:.4f} of {change.baseline.name}")
    return " and ".join(clauses)


def _threshold_lines(judgement: Judgement, threshold: Threshold) -> list[str]:
    bound = threshold.bound_for(judgement.measurement.value)
    noise = (
        "within the noise: the threshold is inside the interval, so other samples could change the verdict"
        if judgement.within_noise
        else "more than the noise: the threshold is outside the interval"
    )
    return [
        f"  threshold   {threshold} ({threshold.source})",
        f"  margin      {judgement.measurement.value - bound:+.4f}, {noise}",
    ]


def _change_lines(change: Change) -> list[str]:
    found = change.comparison
    p = found.p_worse if change.loss > 0 else found.p_better
    band = _range(found.interval.low, found.interval.high, signed=True)
    lines = [
        f"  baseline    {change.baseline.value:.4f} ({change.baseline.name})",
        f"  difference  {found.difference:+.4f}, {band} ({found.interval.level:.0%} {found.interval.method})",
        f"  p           {p:.2g} ({found.method}), significant at {change.alpha:.2g} or less",
        f"  tolerance   {change.tolerance:.4g}; smallest detectable loss {change.detectable:.4g} (power 80%)",
    ]
    if change.detectable > change.tolerance:
        lines.append("              too few samples to detect a loss of the size of the tolerance")
    return lines


def _flip_lines(flips: tuple[Flip, ...]) -> list[str]:
    if not flips[0].truth:
        return ["  correct before, wrong now:", *(f"    {printable(flip.sample)}" for flip in flips)]
    names = [[printable(text) for text in (flip.sample, flip.truth, flip.before, flip.after)] for flip in flips]
    widths = [max(len(row[column]) for row in names) for column in range(4)]
    lines = ["  correct before, wrong now; largest loss of confidence in the true class first:"]
    for flip, (sample, truth, before, after) in zip(flips, names, strict=True):
        confidences = [0.0 if one is None else one for one in (flip.confidence_before, flip.confidence_after)]
        lines.append(
            f"    {sample:<{widths[0]}}  true {truth:<{widths[1]}}  "
            f"before {before:<{widths[2]}} ({confidences[0]:4.0%})  now {after:<{widths[3]}} ({confidences[1]:4.0%})"
        )
    return lines


def _miss_lines(misses: tuple[Miss, ...]) -> list[str]:
    if not misses:
        return []
    sample = max(len(printable(miss.sample)) for miss in misses)
    truth = max(len(printable(miss.truth)) for miss in misses)
    return [
        "  wrong decisions, most confident first:",
        *(
            f"    {printable(miss.sample):<{sample}}  true {printable(miss.truth):<{truth}}  "
            f"predicted {printable(miss.predicted)} ({miss.confidence:.1%})"
            for miss in misses
        ),
    ]


def _range(low: float, high: float, *, signed: bool = False) -> str:
    return f"{low:+.4f} to {high:+.4f}" if signed else f"{low:.4f} to {high:.4f}"


def _level(measurement: Measurement) -> str:
    return f"{measurement.interval.level:.0%} {measurement.interval.method}"
