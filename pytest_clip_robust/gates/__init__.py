"""From a Measurement and its threshold to a Verdict."""

from __future__ import annotations

from pytest_clip_robust.gates.threshold import Threshold, find_threshold, threshold_from_table
from pytest_clip_robust.gates.verdict import Judgement, Verdict, explain, judge

__all__ = ["Judgement", "Threshold", "Verdict", "explain", "find_threshold", "judge", "threshold_from_table"]
