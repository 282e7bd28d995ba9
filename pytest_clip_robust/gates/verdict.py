"""The verdict on one measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.gates.regression import Change, Trend
from pytest_clip_robust.gates.threshold import Threshold


class Verdict(StrEnum):
    """What the gate says, the most urgent first. Fail closed: what could not be measured is an ERROR, never a pass."""

    ERROR = "error"
    REGRESSED = "regressed"
    BELOW_THRESHOLD = "below_threshold"
    INCONCLUSIVE = "inconclusive"
    IMPROVED = "improved"
    PASSED = "passed"

    def fails(self, *, strict: bool) -> bool:
        """Tell whether the test must fail: what may be a loss or noise fails where only what is certain passes."""
        return self in {Verdict.ERROR, Verdict.REGRESSED, Verdict.BELOW_THRESHOLD} or (
            strict and self is Verdict.INCONCLUSIVE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A measurement, what it was held against, and the verdict.

    change: None where there is no baseline and no reference. objection: why nothing could be judged, or ``""``.
    """

    measurement: Measurement
    threshold: Threshold | None
    change: Change | None
    verdict: Verdict
    objection: str = ""

    @property
    def within_noise(self) -> bool:
        """Tell whether the bound lies inside the confidence interval, so that other images could decide otherwise."""
        if self.threshold is None:
            return False
        interval = self.measurement.interval
        return bool(interval.low <= self.threshold.bound_for(self.measurement.value) <= interval.high)


OF_TREND = {
    Trend.WORSE: Verdict.REGRESSED,
    Trend.UNCLEAR: Verdict.INCONCLUSIVE,
    Trend.BETTER: Verdict.IMPROVED,
    Trend.SAME: Verdict.PASSED,
}


def judge(
    measurement: Measurement, threshold: Threshold | None, change: Change | None = None, *, objection: str = ""
) -> Judgement:
    """Hold `measurement` against `threshold` and against what was measured before; the more urgent verdict counts.

    Without either the value is only recorded, which passes. An `objection` is an error whatever the value.
    """
    of_threshold = (
        Verdict.PASSED if threshold is None or threshold.admits(measurement.value) else Verdict.BELOW_THRESHOLD
    )
    of_change = Verdict.PASSED if change is None else OF_TREND[change.trend]
    urgency = list(Verdict)
    verdict = Verdict.ERROR if objection else min(of_threshold, of_change, key=urgency.index)
    return Judgement(measurement=measurement, threshold=threshold, change=change, verdict=verdict, objection=objection)
