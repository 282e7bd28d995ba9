"""Verdict on one measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.gates.regression import Change, Trend
from pytest_clip_robust.gates.threshold import Threshold


class Verdict(StrEnum):
    """The result of a gate, most urgent first. What could not be measured is an ERROR, never a pass."""

    ERROR = "error"
    REGRESSED = "regressed"
    BELOW_THRESHOLD = "below_threshold"
    INCONCLUSIVE = "inconclusive"
    IMPROVED = "improved"
    PASSED = "passed"

    def fails(self, *, strict: bool) -> bool:
        """Return whether the test must fail; with `strict`, an inconclusive comparison fails too."""
        return self in {Verdict.ERROR, Verdict.REGRESSED, Verdict.BELOW_THRESHOLD} or (
            strict and self is Verdict.INCONCLUSIVE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A measurement, what it was compared with, and the verdict.

    change: None without a baseline or reference. objection: why the measurement could not be judged, or ``""``.
    """

    measurement: Measurement
    threshold: Threshold | None
    change: Change | None
    verdict: Verdict
    objection: str = ""

    @property
    def within_noise(self) -> bool:
        """Whether the bound is inside the confidence interval, so that other samples could change the verdict."""
        if self.threshold is None:
            return False
        interval = self.measurement.interval
        return bool(interval.low <= self.threshold.bound_for(self.measurement.value) <= interval.high)


OF_TREND = {
    Trend.WORSE: Verdict.REGRESSED,
    Trend.UNCLEAR: Verdict.INCONCLUSIVE,
    Trend.BETTER: Verdict.IMPROVED,
    Trend.SAME: Verdict.PASSED,
    Trend.UNDECIDED: Verdict.PASSED,
}


def judge(
    measurement: Measurement, threshold: Threshold | None, change: Change | None = None, *, objection: str = ""
) -> Judgement:
    """Judge `measurement` by its threshold and by its change since the baseline; the more urgent verdict counts.

    Without either, it passes. An `objection` is an error, regardless of the value.
    """
    of_threshold = (
        Verdict.PASSED if threshold is None or threshold.admits(measurement.value) else Verdict.BELOW_THRESHOLD
    )
    of_change = Verdict.PASSED if change is None else OF_TREND[change.trend]
    urgency = list(Verdict)
    verdict = Verdict.ERROR if objection else min(of_threshold, of_change, key=urgency.index)
    return Judgement(measurement=measurement, threshold=threshold, change=change, verdict=verdict, objection=objection)
