"""Tests that the baselines of showroom-clip in this repository are complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clip_robust.gates.baseline_files import read_columns, read_entries

REPOSITORY = Path(__file__).resolve().parents[2]
BASELINES = REPOSITORY / "baselines" / "showroom-clip"


@pytest.mark.parametrize("suite", sorted(path.stem for path in (REPOSITORY / "suites").glob("test_*.py")))
def test_every_suite_has_baselines_and_every_entry_its_outcomes(suite):
    entries, columns = read_entries(BASELINES / f"{suite}.json"), read_columns(BASELINES / f"{suite}.parquet")
    assert entries
    named = {entry["outcomes"] for entry in entries.values()} - {""}
    assert named == set(columns)
    assert len({json.dumps(entry["run"], sort_keys=True) for entry in entries.values()}) == 1
