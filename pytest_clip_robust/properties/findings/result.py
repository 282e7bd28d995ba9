"""A finding of the study: its claim, its test, and how an effect with its interval decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_clip_robust.core.finding import Answer, Effect, Status
from pytest_clip_robust.core.panel_table import PanelTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding: its name, its claim in one sentence, and the test that answers it from the table of a panel.

    The test raises MeasurementError if the panel lacks the models or measurements that it needs.
    """

    name: str
    claim: str
    test: Callable[[PanelTable], Answer]


def directed(effect: Effect, *, smallest: float, statistic: str, unit: str = "") -> Answer:
    """Answer a claim that an effect is positive.

    It does not hold if the whole interval is below `smallest`, the smallest effect that counts: the effect is negative,
    or too small to matter. Else it holds if the whole interval is above 0. Else the panel does not decide it.
    """
    if effect.high < smallest:
        side = "0" if effect.high < 0 else f"{smallest:g}, the smallest effect that counts"
        status, reason = Status.DOES_NOT_HOLD, f"the whole interval is below {side}"
    elif effect.low > 0:
        status, reason = Status.HOLDS, "the whole interval is above 0, as the finding predicts"
    else:
        status = Status.NOT_DECIDED
        reason = f"the interval includes both 0 and an effect of {smallest:g}; more models or images decide it"
    return Answer(status=status, effect=effect, statistic=statistic, unit=unit, reason=reason)


def unchanged(effect: Effect, *, largest: float, statistic: str, unit: str = "") -> Answer:
    """Answer a claim that there is no effect: that it is within `largest` of 0 in both directions.

    It holds if the whole interval is within these bounds, and does not hold if the whole interval is outside of them.
    """
    bounds = f"-{largest:g} to +{largest:g}"
    if -largest <= effect.low and effect.high <= largest:
        status, reason = Status.HOLDS, f"the whole interval is within {bounds}, as the finding predicts"
    elif effect.low > largest or effect.high < -largest:
        status, reason = Status.DOES_NOT_HOLD, f"the whole interval is outside of {bounds}"
    else:
        status = Status.NOT_DECIDED
        reason = f"the interval is partly outside of {bounds}; more models or images decide it"
    return Answer(status=status, effect=effect, statistic=statistic, unit=unit, reason=reason)
