"""Tests of the thresholds that are derived from a report."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from showroom import thresholds


def gate(measurement, low, high, direction="higher"):
    return {"measurement": measurement, "interval": {"low": low, "high": high}, "direction": direction}


@pytest.mark.parametrize(
    ("found", "demand"),
    [
        (gate("a[x]", 0.5031, 0.6), "at_least = 0.49"),
        (gate("a[x]", 0.0037, 0.02), "at_least = 0.0033"),
        (gate("a[x]", 0.0892, 0.1, "lower"), "at_most = 0.11"),
        (gate("a[x]", -0.0892, 0.2), "at_least = -0.10"),
        (gate("a[x]", 0.1, 0.4211, "lower"), "at_most = 0.44"),
        (gate("a[x]", 0.9, 1 - 1e-16, "lower"), "at_most = 1.00"),
        (gate("a[x]", -1e-18, 0.1), "at_least = 0.00"),
        (gate("a[x]", 4.26, 12.8865, "lower"), "at_most = 12.90"),
    ],
)
def test_a_threshold_is_the_worse_end_of_the_interval_plus_slack(found, demand):
    assert thresholds.line(found) == f'"a[x]" = {{ {demand} }}\n'


@pytest.mark.parametrize(("option", "expected"), [([], {"b[x]", "c[x]"}), (["--keep"], {"a[x]", "b[x]", "c[x]"})])
def test_thresholds_that_are_not_in_the_report_are_removed_unless_kept(tmp_path, monkeypatch, option, expected):
    profile, report = tmp_path / "p.toml", tmp_path / "report.json"
    before = '[roles]\nid = "x"\n[thresholds]\n"a[x]" = { at_least = 0.30 }\n"b[x]" = { at_least = 0.10 }\n'
    profile.write_text(before)
    report.write_text(json.dumps({"gates": [gate("c[x]", 0.2, 0.4), gate("b[x]", 0.5, 0.6)]}))
    monkeypatch.setattr(sys, "argv", ["thresholds", str(report), str(profile), *option])
    thresholds.main()
    found = tomllib.loads(profile.read_text())
    assert found["roles"] == {"id": "x"}
    assert set(found["thresholds"]) == expected
    assert found["thresholds"]["b[x]"] == {"at_least": 0.49}
    assert list(found["thresholds"]) == sorted(found["thresholds"])
