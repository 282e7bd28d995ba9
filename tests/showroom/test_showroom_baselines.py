"""The baselines of showroom-clip in this repository: complete, and true on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clip_robust.gates.baseline_files import read_columns, read_entries

REPOSITORY = Path(__file__).resolve().parents[2]
BASELINES = REPOSITORY / "baselines" / "showroom-clip"


@pytest.mark.parametrize("suite", sorted(path.stem for path in (REPOSITORY / "suites").glob("test_*.py")))
def test_every_suite_has_baselines_and_every_gate_its_outcomes(suite):
    entries, columns = read_entries(BASELINES / f"{suite}.json"), read_columns(BASELINES / f"{suite}.parquet")
    assert entries
    named = {entry["outcomes"] for entry in entries.values()} - {""}
    assert named == set(columns)
    assert len({json.dumps(entry["run"], sort_keys=True) for entry in entries.values()}) == 1


def test_showroom_clip_is_what_it_was_on_this_machine(pytester, tmp_path):
    """Cue conflicts alone: 240 images take seconds, and any drift of weights, data or preprocessing shows."""
    result = pytester.runpytest_subprocess(
        str(REPOSITORY / "suites" / "test_shape_bias.py"),
        f"--rootdir={REPOSITORY}",
        "--model=showroom-clip",
        f"--clip-cache={tmp_path}",
        f"--clip-baselines={BASELINES.parent}",
        "--clip-strict",
        f"--clip-report={tmp_path}",
    )
    assert result.ret == 0
    gates = json.loads((tmp_path / "report.json").read_text())["gates"]
    assert {gate["verdict"] for gate in gates} == {"passed"}
    assert max(abs(gate["change"]["difference"]) for gate in gates) < 0.01
