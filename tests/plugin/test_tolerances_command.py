"""``clip-robust tolerances`` with models: it runs pytest itself."""

from __future__ import annotations

import subprocess
import tomllib

import pytest

from pytest_clip_robust import cli
from pytest_clip_robust.cli import measuring
from pytest_clip_robust.config.shipped import shipped_suites
from pytest_clip_robust.errors import ReportError

GATES = {"shift.top1[dim]", "zero_shot.mean_per_class[photos]", "zero_shot.top1[photos]", "zero_shot.top2[photos]"}
TWINS = ["--model=py:colour_clip:load", "--model=py:colour_clip:load_forgetful", "--clip-profile=profile.toml"]


def test_two_models_are_measured_and_their_difference_is_tolerated(crowd, capfd, forked_workers):
    """The profile's old tolerance is not in the way, and the project's own suite replaces the shipped ones."""
    path = crowd.path / "profile.toml"
    path.write_text(f'{path.read_text()}[tolerances]\n"zero_shot.top1[photos]" = 0.9\n')
    assert cli.main(["tolerances", *TWINS, "--", "test_suite.py", "-q"]) == 0
    found = tomllib.loads(path.read_text())["tolerances"]
    assert {"zero_shot.top1[photos]", "zero_shot.mean_per_class[photos]"} <= set(found) <= GATES
    assert found["zero_shot.top1[photos]"] != 0.9
    assert "2 checkpoints, 4 gates" in capfd.readouterr().out
    assert not list(crowd.path.glob(".*.toml"))


@pytest.fixture
def command(monkeypatch):
    """Record the command line instead of running it."""
    lines = []
    done = subprocess.CompletedProcess([], 4)
    monkeypatch.setattr(measuring.subprocess, "run", lambda line, check: lines.append(line) or done)
    return lines


@pytest.mark.parametrize(
    ("passed", "paths", "options"),
    [
        ([], shipped_suites(), []),
        (["-n", "auto"], shipped_suites(), ["-n", "auto"]),
        (["tests/a.py::test_b", "tests/c", "-n", "2"], ["tests/a.py::test_b", "tests/c"], ["-n", "2"]),
    ],
)
def test_paths_after_the_dashes_replace_the_shipped_suites(command, tmp_path, passed, paths, options):
    with pytest.raises(ReportError, match="pytest ended with exit status 4 before it measured all gates"):
        measuring.measure(["a", "b"], tmp_path / "p.toml", tmp_path, passed)
    ((_, _, _, *arguments),) = command
    assert arguments[: len(paths) + len(options)] == [*paths, *options]
    assert {"--clip-model=a", "--clip-model=b", f"--clip-profile={tmp_path / 'p.toml'}"} <= set(arguments)
