"""action.yml: its inputs are those that it uses, and its script passes them to pytest as they are."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOSTILE = "$(touch injected); `touch injected` \"quoted\" 'x' && touch injected"


def test_every_input_is_used_and_described():
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
    assert all(one["description"] for one in ACTION["inputs"].values())
    assert [name for name, one in ACTION["inputs"].items() if one.get("required")] == ["model"]


def test_no_input_is_a_part_of_a_script():
    scripts = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"] if "run" in step)


def test_the_docs_describe_every_input():
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert set(ACTION["inputs"]) - {"token"} <= described


@pytest.fixture
def gate(tmp_path):
    """Return a function that runs the script with a fake python, and returns pytest's arguments and the output."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\nsys.exit(1)\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def run(**inputs):
        output = tmp_path / "output"
        given = {"MODELS": "", "REPORT": "out", "CACHE": "cache", "GITHUB_OUTPUT": str(output)} | inputs
        done = subprocess.run(
            ["bash", str(ROOT / ".ci" / "gate")], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"} | given,
        )  # fmt: skip
        assert not (tmp_path / "injected").exists()
        return json.loads(done.stdout), output.read_text()

    return run


def test_inputs_become_arguments(gate):
    arguments, output = gate(
        MODELS="ViT-B-32@runs/a b.pt\nshowroom-clip\n",
        REFERENCE="ViT-B-32@openai",
        PROFILE="release.toml",
        ARGUMENTS="-n auto --clip-strict",
    )
    assert arguments == [
        "-m", "pytest", "--pyargs", "pytest_clip_robust.suites",
        "--clip-report=out", "--clip-cache=cache", "--junitxml=out/junit.xml",
        "--clip-model=ViT-B-32@runs/a b.pt", "--clip-model=showroom-clip",
        "--clip-reference=ViT-B-32@openai", "--clip-profile=release.toml", "-n", "auto", "--clip-strict",
    ]  # fmt: skip
    assert output == "status=1\n"


def test_own_tests_replace_the_suites(gate):
    arguments, _ = gate(MODELS="a", TESTS="tests/robust tests/b.py")
    assert arguments[2:4] == ["tests/robust", "tests/b.py"]


@pytest.mark.parametrize("name", ["MODELS", "REFERENCE", "PROFILE", "ARGUMENTS", "TESTS"])
def test_no_input_is_run_as_a_command(gate, name):
    arguments, _ = gate(**({"MODELS": "a"} | {name: HOSTILE}))
    assert any("$(touch" in one for one in arguments)
