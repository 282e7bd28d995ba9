"""From a Measurement, its threshold and what was measured before to a Verdict."""

from pytest_clip_robust.gates.explain import explain
from pytest_clip_robust.gates.regression import Change, Earlier, Flip, Trend, change_since, earlier_from
from pytest_clip_robust.gates.threshold import Threshold, most_specific, threshold_from_table
from pytest_clip_robust.gates.tolerance import find_tolerance, tolerance_from_value
from pytest_clip_robust.gates.verdict import Judgement, Verdict, judge

__all__ = [
    "Change",
    "Earlier",
    "Flip",
    "Judgement",
    "Threshold",
    "Trend",
    "Verdict",
    "change_since",
    "earlier_from",
    "explain",
    "find_tolerance",
    "judge",
    "most_specific",
    "threshold_from_table",
    "tolerance_from_value",
]
