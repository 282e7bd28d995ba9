"""Findings of the study as tests over the table of a panel: a claim, a statistic with its interval, and a status."""

from __future__ import annotations

from pytest_clip_robust.properties.findings.factor_lines import factor_residuals
from pytest_clip_robust.properties.findings.registry import FINDINGS, evaluate_findings

__all__ = ["FINDINGS", "evaluate_findings", "factor_residuals"]
