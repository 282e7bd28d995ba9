"""Runs that find everything in the store do not load their models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clip_robust.models.known import releases

SUITES = Path(__file__).resolve().parents[2] / "suites"
PROFILE = """
name = "few"
[roles]
id = "showroom-id"
captions = "showroom-captions"
[data.showroom-id]
images = 48
"""
CONFTEST = """
import sys

def pytest_unconfigure():
    print("imported:", sorted({"open_clip", "timm", "torch", "torchvision", "transformers"} & set(sys.modules)))
"""


def gates(pytester):
    return json.loads((pytester.path / "out" / "report.json").read_text())


@pytest.mark.skipif(releases() is None, reason="a library that loads models is a working copy")
def test_what_is_stored_is_judged_without_the_libraries_of_the_model(pytester):
    pytester.makefile(".toml", few=PROFILE)
    pytester.makepyfile(imported=CONFTEST)
    pytester.mkdir("own")
    run = [
        *(SUITES / f"test_{name}.py" for name in ("zero_shot", "retrieval")),
        *("--model=showroom-clip", "--clip-profile=few.toml", "--clip-cache=cache", "--clip-report=out"),
        *("--clip-baselines=own", "--clip-device=cpu", "-p", "no:cacheprovider"),
    ]
    first = pytester.runpytest_inprocess(*run)
    before = gates(pytester)
    again = pytester.runpytest_subprocess(*run, "-p", "imported")
    assert first.ret == again.ret == 0
    again.stdout.fnmatch_lines(["imported: []"])
    after = gates(pytester)
    assert after["gates"] == before["gates"]
    assert after["models"] == before["models"]
    assert after["encoded"] == {"images": 0, "texts": 0, "answers": 0}
