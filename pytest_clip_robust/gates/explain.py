"""The words that explain a judgement: everything that somebody needs to decide what to do about it."""

from __future__ import annotations

from pytest_clip_robust.core.measurement import Measurement, Miss
from pytest_clip_robust.gates.regression import Change, Flip
from pytest_clip_robust.gates.threshold import Threshold
from pytest_clip_robust.gates.verdict import Judgement, Verdict
from pytest_clip_robust.system.text import printable

MISSES_SHOWN = 10


def explain(judgement: Judgement) -> str:
    """Say what is wrong with a value: what it was held against, how sure that is, and the samples behind it."""
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
    said = []
    if change is not None and judgement.verdict in {Verdict.REGRESSED, Verdict.INCONCLUSIVE}:
        certain = "is worse" if judgement.verdict is Verdict.REGRESSED else "looks worse, which may be chance,"
        said.append(f"{certain} than {change.earlier.value:.4f} of {change.earlier.name}")
    if threshold is not None and not threshold.admits(value):
        bound = threshold.bound_for(value)
        said.append(f"is {'below' if value < bound else 'above'} its threshold {bound:.4f}")
    if change is not None and judgement.verdict is Verdict.IMPROVED:
        said.append(f"is better than {change.earlier.value:.4f} of {change.earlier.name}")
    return " and ".join(said)


def _threshold_lines(judgement: Judgement, threshold: Threshold) -> list[str]:
    bound = threshold.bound_for(judgement.measurement.value)
    noise = (
        "inside the noise: other images of the same kind could decide otherwise"
        if judgement.within_noise
        else "outside the noise"
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
        f"  before      {change.earlier.value:.4f} ({change.earlier.name})",
        f"  difference  {found.difference:+.4f}, {band} ({found.interval.level:.0%} {found.interval.method})",
        f"  p           {p:.2g} ({found.method}), significant up to {change.alpha:.2g}",
        f"  tolerance   {change.tolerance:.4g}; detectable {change.detectable:.4g} (in four of five cases)",
    ]
    if change.detectable > change.tolerance:
        lines.append("              the noise is wider than the tolerance: more images would decide")
    return lines


def _flip_lines(flips: tuple[Flip, ...]) -> list[str]:
    if not flips[0].truth:
        return ["  right before and wrong now:", *(f"    {printable(flip.sample)}" for flip in flips)]
    names = [[printable(text) for text in (flip.sample, flip.truth, flip.before, flip.after)] for flip in flips]
    widths = [max(len(row[column]) for row in names) for column in range(4)]
    lines = ["  right before and wrong now, the largest loss of confidence in the truth first:"]
    for flip, (sample, truth, before, after) in zip(flips, names, strict=True):
        confidences = [0.0 if one is None else one for one in (flip.confidence_before, flip.confidence_after)]
        lines.append(
            f"    {sample:<{widths[0]}}  is {truth:<{widths[1]}}  said {before:<{widths[2]}} ({confidences[0]:4.0%})"
            f"  now {after:<{widths[3]}} ({confidences[1]:4.0%})"
        )
    return lines


def _miss_lines(misses: tuple[Miss, ...]) -> list[str]:
    if not misses:
        return []
    sample = max(len(printable(miss.sample)) for miss in misses)
    truth = max(len(printable(miss.truth)) for miss in misses)
    return [
        "  worst misses, the most confident first:",
        *(
            f"    {printable(miss.sample):<{sample}}  is {printable(miss.truth):<{truth}}  "
            f"said {printable(miss.predicted)} ({miss.confidence:.1%})"
            for miss in misses
        ),
    ]


def _range(low: float, high: float, *, signed: bool = False) -> str:
    return f"{low:+.4f} to {high:+.4f}" if signed else f"{low:.4f} to {high:.4f}"


def _level(measurement: Measurement) -> str:
    return f"{measurement.interval.level:.0%} {measurement.interval.method}"
