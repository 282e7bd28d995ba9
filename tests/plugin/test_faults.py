"""What goes wrong outside: killed processes, full and read-only disks, damaged files, two runs at once."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

MODEL = "--model=py:colour_clip:load"
MORTAL = "--model=py:mortal_clip:load"
PROFILE = "--clip-profile=profile.toml"
SAME = ("value", "interval", "n", "verdict", "measurement")

MOST_LEFT = 132 - 2 * 16
"""Images that are left when a process is killed at its fourth batch of 16; one may be on its way to the store."""


def measured(pytester, folder):
    """Read what a run measured, whatever its model is called."""
    gates = json.loads((pytester.path / folder / "report.json").read_text())["gates"]
    return sorted(([gate[name] for name in SAME] for gate in gates), key=str)


def measure_undisturbed(crowd):
    crowd.runpytest(MODEL, PROFILE, "--clip-report=undisturbed", "--clip-cache=undisturbed").assert_outcomes(passed=4)
    return measured(crowd, "undisturbed")


@pytest.fixture
def truth(crowd, made_once):
    """What a run measures that nothing disturbs."""
    return made_once(measure_undisturbed, crowd)


@pytest.fixture
def disk(tmp_path):
    """Mount a disk of some size in memory; another call changes how it is mounted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return place

    try:
        yield mount
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_on_a_full_disk_a_run_measures_the_same_and_says_what_is_lost(crowd, truth, disk):
    cache = disk("size=16k") / "cache"
    result = crowd.runpytest(MODEL, PROFILE, f"--clip-cache={cache}", "--clip-report=out")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            f"feature store {cache}/features: cannot be written (No space left on device); new features stay *",
            "encoded 132 images and 3 texts; *",
        ]
    )
    assert measured(crowd, "out") == truth


def test_a_cache_on_a_read_only_disk_is_read_and_what_it_lacks_is_encoded(crowd, truth, disk):
    cache = disk("size=4m") / "cache"
    crowd.runpytest(MODEL, PROFILE, f"--clip-cache={cache}", "-k", "shift").assert_outcomes(passed=1)
    disk("remount,ro")
    result = crowd.runpytest(MODEL, PROFILE, f"--clip-cache={cache}", "--clip-report=out")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [f"feature store {cache}/features: cannot be written (Read-only *", "encoded 120 images and 0 texts; *"]
    )
    assert measured(crowd, "out") == truth


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it may not; the test before this one is for root")
def test_a_cache_that_may_not_be_written_is_read(crowd, truth):
    crowd.runpytest(MODEL, PROFILE).assert_outcomes(passed=4)
    folders = [path for path in (crowd.path / "cache").rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    result = crowd.runpytest(MODEL, PROFILE, "--clip-report=out")
    for folder in folders:
        folder.chmod(0o755)
    result.stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])
    assert measured(crowd, "out") == truth


def test_a_damaged_shard_costs_its_rows_and_a_line(crowd, truth):
    crowd.runpytest(MODEL, PROFILE).assert_outcomes(passed=4)
    shard = max((crowd.path / "cache" / "features").rglob("*.parquet"), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-1])
    result = crowd.runpytest(MODEL, PROFILE, "--clip-report=out")
    result.stdout.fnmatch_lines(
        [f"feature store: *{shard.name} is set aside: * its rows will be encoded again", "encoded 120 images and 0 *"]
    )
    assert measured(crowd, "out") == truth


def test_a_run_killed_while_it_encodes_goes_on_where_it_was(truth, mortal, start_session):
    (mortal.path / "kill_self").touch()
    assert start_session(MORTAL, PROFILE).wait() == -9
    result = mortal.runpytest(MORTAL, PROFILE, "--clip-report=out")
    assert encoded_in(result) <= MOST_LEFT
    assert measured(mortal, "out") == truth


def test_a_controller_killed_while_its_worker_encodes_leaves_no_process_and_nothing_is_lost(
    truth, mortal, start_session
):
    (mortal.path / "kill_parent").touch()
    assert start_session(MORTAL, PROFILE, "-n1").wait() == -9
    worker = int((mortal.path / "encoding_process").read_text())
    patience = time.monotonic() + 20
    while alive(worker):
        assert time.monotonic() < patience, "the worker outlives its controller"
        time.sleep(0.02)
    result = mortal.runpytest(MORTAL, PROFILE, "--clip-report=out")
    assert encoded_in(result) <= MOST_LEFT
    assert measured(mortal, "out") == truth


def alive(process):
    """Tell whether a process is there and no zombie."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def encoded_in(result):
    return next(int(line.split()[1]) for line in result.outlines if line.startswith("encoded "))


def test_two_runs_at_once_on_one_cache_measure_the_same(crowd, truth, start_session):
    runs = [start_session(MODEL, PROFILE, f"--clip-report=run{number}") for number in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert measured(crowd, "run0") == measured(crowd, "run1") == truth
    crowd.runpytest(MODEL, PROFILE).stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])
