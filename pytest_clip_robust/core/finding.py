"""The result of a finding of the study on a panel: a status, an effect over models with its interval, a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, TypedDict

OF = {
    "families": "other families of models and other images",
    "models": "other models of this family and other images",
    "images": "other images, not other models",
}
"""What the interval of an effect covers, by `Effect.of`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An estimate over models, with its interval at 95 %.

    models: the number of models (or pairs of models) in it. of: ``families`` or ``models`` if the interval covers other
    ones of these; ``images`` if only other images. units: their number, of families or of models.
    """

    value: float
    low: float
    high: float
    models: int
    units: int
    of: str

    def negated(self) -> Effect:
        """Return the effect in the opposite direction."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    def widened(self, half: float) -> Effect:
        """Return the effect with an independent error added, whose own interval is `half` wide to each side."""
        below, above = math.hypot(self.value - self.low, half), math.hypot(self.high - self.value, half)
        return replace(self, low=self.value - below, high=self.value + above)


class Status(StrEnum):
    """The answer of a panel to a finding; NOT_TESTED if it lacks the models or measurements for one."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_DECIDED = "not decided here"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of a panel: the status, the estimate in `unit` that decided it, and the reason in words.

    statistic: what was estimated, such as ``"ECE in distribution minus that after temperature scaling"``.
    smallest: the smallest effect that counts, in `unit`. predicts: the effect that the claim predicts.
    """

    status: Status
    effect: Effect
    statistic: str
    unit: str
    reason: str
    smallest: float
    predicts: Literal["above 0", "none"]

    @property
    def sentence(self) -> str:
        """The answer as one sentence with its numbers."""
        found, unit = self.effect, f" {self.unit}" if self.unit else ""
        counted = f"values: {found.models}, units: {found.units}"
        return (
            f"{self.status}: {self.statistic} is {found.value:+.3f}{unit} (95 % interval {found.low:+.3f} to "
            f"{found.high:+.3f}, over {OF[found.of]}; {counted}): {self.reason}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingResult:
    """The result of a finding on a panel; `answer` is None if it was not tested, and `why` is one sentence."""

    name: str
    claim: str
    status: Status
    why: str
    answer: Answer | None


class FindingRecord(TypedDict):
    """A `FindingResult` as plain data: None for what an answer has, if the finding was not tested.

    status: a `Status`. why: one sentence with all numbers; reason: the same without numbers. value, low, high: the
    effect in `unit` with its 95 % interval, which covers other `covers`. smallest: the smallest effect that counts.
    values: the number of models, or pairs of models; units: that of `covers`.
    """

    finding: str
    claim: str
    status: str
    why: str
    reason: str
    statistic: str | None
    unit: str | None
    value: float | None
    low: float | None
    high: float | None
    smallest: float | None
    values: int | None
    units: int | None
    covers: str | None


def finding_record(result: FindingResult) -> FindingRecord:
    """Return a result as plain data."""
    answer = result.answer
    effect = answer.effect if answer else None
    return {
        "finding": result.name,
        "claim": result.claim,
        "status": str(result.status),
        "why": result.why,
        "reason": answer.reason if answer else result.why,
        "statistic": answer.statistic if answer else None,
        "unit": answer.unit if answer else None,
        "value": effect.value if effect else None,
        "low": effect.low if effect else None,
        "high": effect.high if effect else None,
        "smallest": answer.smallest if answer else None,
        "values": effect.models if effect else None,
        "units": effect.units if effect else None,
        "covers": effect.of if effect else None,
    }
