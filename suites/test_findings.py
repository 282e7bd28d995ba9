"""Findings of the study: do the models of a panel, measured by all other suites, show what it found?

Each test is decided at the end of the run, from the table of all models (docs/study.md).
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.clip_suite


def test_finding(finding, decide_on_panel):
    decide_on_panel(finding)
