"""Tests that the baselines of the showroom's models in this repository are complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clip_robust.gates.baseline_files import read_columns, read_entries

REPOSITORY = Path(__file__).resolve().parents[2]
BASELINES = REPOSITORY / "baselines"
OF_OTHER_MODELS = {"test_multimodal": "showroom-lmm"}
"""Suites that are not applicable to showroom-clip, and the model that has their baselines."""
WITHOUT = {"test_findings", "test_adversarial", "test_backgrounds"}
"""Suites without baselines: findings are no gates, and the showroom has no sets with the roles of the others."""
SUITES = {path.stem for path in (REPOSITORY / "suites").glob("test_*.py")} - WITHOUT


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_suite_has_baselines_and_every_entry_its_outcomes(suite):
    folder = BASELINES / OF_OTHER_MODELS.get(suite, "showroom-clip")
    entries, columns = read_entries(folder / f"{suite}.json"), read_columns(folder / f"{suite}.parquet")
    assert entries
    named = {entry["outcomes"] for entry in entries.values()} - {""}
    assert named == set(columns)
    assert len({json.dumps(entry["run"], sort_keys=True) for entry in entries.values()}) == 1
