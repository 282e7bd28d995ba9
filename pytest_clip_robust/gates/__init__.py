"""Gates: a measurement, judged by its threshold and its baseline, becomes a verdict."""

from pytest_clip_robust.gates.conclusion import Conclusion, conclude
from pytest_clip_robust.gates.explain import explain
from pytest_clip_robust.gates.families import decide, is_undecided
from pytest_clip_robust.gates.regression import Baseline, Change, Flip, Trend, baseline_from, change_since
from pytest_clip_robust.gates.threshold import Threshold, find_tolerance, is_headline, most_specific
from pytest_clip_robust.gates.verdict import Judgement, Verdict, judge

__all__ = [
    "Baseline",
    "Change",
    "Conclusion",
    "Flip",
    "Judgement",
    "Threshold",
    "Trend",
    "Verdict",
    "baseline_from",
    "change_since",
    "conclude",
    "decide",
    "explain",
    "find_tolerance",
    "is_headline",
    "is_undecided",
    "judge",
    "most_specific",
]
