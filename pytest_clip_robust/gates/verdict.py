"""The verdict on one measurement, and the words that explain it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_clip_robust.gates.threshold import Threshold
from pytest_clip_robust.measurement import Measurement, Miss
from pytest_clip_robust.text import printable

MISSES_SHOWN = 10


class Verdict(StrEnum):
    """What the gate says. Fail closed: what could not be measured is an ERROR, never a pass."""

    ERROR = "error"
    BELOW_THRESHOLD = "below_threshold"
    PASSED = "passed"

    @property
    def fails(self) -> bool:
        """Tell whether the test must fail."""
        return self is not Verdict.PASSED


@dataclass(frozen=True, slots=True)
class Judgement:
    """A measurement, what was demanded of it, and the verdict."""

    measurement: Measurement
    threshold: Threshold | None
    verdict: Verdict

    @property
    def within_noise(self) -> bool:
        """Tell whether the bound lies inside the confidence interval, so that other images could decide otherwise."""
        if self.threshold is None:
            return False
        interval = self.measurement.interval
        return bool(interval.low <= self.threshold.bound_for(self.measurement.value) <= interval.high)


def judge(measurement: Measurement, threshold: Threshold | None, *, strict: bool = False) -> Judgement:
    """Hold `measurement` against `threshold`.

    Without a threshold the value is only recorded, which passes; under `strict` nothing passes unjudged.
    """
    if threshold is None:
        return Judgement(measurement, None, Verdict.ERROR if strict else Verdict.PASSED)
    passed = threshold.admits(measurement.value)
    return Judgement(measurement, threshold, Verdict.PASSED if passed else Verdict.BELOW_THRESHOLD)


def explain(judgement: Judgement) -> str:
    """Say why a judgement failed: value, interval, threshold, n, and the worst misses by name."""
    found, demanded = judgement.measurement, judgement.threshold
    if demanded is None:
        return (
            f"{found.key} = {found.value:.4f}: nothing judges this value, and --clip-strict lets nothing pass "
            f"unjudged; give '{found.metric}' a threshold in the profile"
        )
    bound = demanded.bound_for(found.value)
    side = "below" if found.value < bound else "above"
    noise = (
        "inside the noise: other images of the same kind could decide otherwise"
        if judgement.within_noise
        else "outside the noise"
    )
    interval = found.interval
    lines = [
        f"{found.key} = {found.value:.4f} is {side} its threshold {bound:.4f}",
        f"  interval    {interval.low:.4f} to {interval.high:.4f} ({interval.level:.0%} {interval.method})",
        f"  threshold   {demanded} ({demanded.source})",
        f"  difference  {found.value - bound:+.4f}, {noise}",
        f"  n           {found.n}",
    ]
    if found.remark:
        lines.append(f"  remark      {found.remark}")
    lines += [f"  {name:<11} {value:.4g}" for name, value in found.details.items()]
    return "\n".join([*lines, *_miss_lines(found.misses[:MISSES_SHOWN])])


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
