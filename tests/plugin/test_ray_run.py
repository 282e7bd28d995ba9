"""A run with --clip-engine ray, on a cluster that it starts and ends."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]")
MODEL = "--model=py:slow_clip:load"

SLOW_CLIP = '''
"""The colour world's model; it takes its time and notes each batch that it encodes."""
import os, time
from colour_clip import ColourClip


class SlowClip(ColourClip):
    def encode_image(self, pixels):
        if len(pixels) > 2:  # not the images of the check
            time.sleep(0.3)
            with open(f"encoding_{os.getpid()}", "a") as file:
                file.write(".")
        return super().encode_image(pixels)


load = SlowClip
'''


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def temporary_files(process):
    return [
        path for folder in {"/tmp", tempfile.gettempdir()} for path in Path(folder).glob(f"clip-robust-{process}-*")
    ]


def batches(world):
    return sum(len(path.read_text()) for path in world.path.glob("encoding_*"))


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@NEEDS_RAY
def test_a_run_that_is_told_to_end_leaves_no_process_and_keeps_what_was_encoded(crowd, monkeypatch, start_session):
    crowd.makepyfile(slow_clip=SLOW_CLIP)
    home = crowd.mkdir("home")
    for name, value in (("HOME", home), ("OMP_NUM_THREADS", "1"), ("RAY_ADDRESS", "")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    session = start_session(MODEL, "--clip-profile=profile.toml", "--clip-engine=ray", "-k", "test_accuracy")
    wait_for(lambda: batches(crowd) >= 5)
    (ours,) = temporary_files(session.process)
    assert not ours.stat().st_mode & 0o077, "others cannot read the files of the cluster"
    os.kill(session.process, signal.SIGTERM)
    assert session.wait() == pytest.ExitCode.INTERRUPTED
    workers = [int(path.name.removeprefix("encoding_")) for path in crowd.path.glob("encoding_*")]
    wait_for(lambda: not any(map(alive, workers)))
    assert not temporary_files(session.process)
    assert not list(home.iterdir()), "no token is left"
    crowd.makepyfile(slow_clip=SLOW_CLIP.replace("0.3", "0"))
    result = crowd.runpytest(MODEL, "--clip-profile=profile.toml", "-k", "test_accuracy")
    result.assert_outcomes(passed=2, deselected=2)
    (line,) = [line for line in result.outlines if line.startswith("encoded ")]
    assert 0 < int(line.split()[1]) < 120 - 32


@NEEDS_RAY
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["-n2"], {}, "ERROR: -n cannot be combined with --clip-engine ray, which spreads the work itself; remove one"),
        ([], {"WORLD_SIZE": "2", "RANK": "0"}, "ERROR: WORLD_SIZE cannot be combined with --clip-engine ray; unset *"),
    ],
)
def test_work_is_spread_by_one_of_several_ways(colours, monkeypatch, arguments, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = colours.runpytest("--model=py:colour_clip:load", "--clip-engine=ray", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_without_ray_a_line_says_how_to_install_it(colours, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = colours.runpytest("--model=py:colour_clip:load", "--clip-engine=ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --clip-engine ray needs the package ray, which is not installed: pip install '*-clip-robust[[]ray]'"]
    )
