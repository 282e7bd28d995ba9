"""The main job on real photographs with a real dual encoder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime")

MODEL = "py:tests/real/effl0_minilm.py:load"

PROFILE = """
name = "real"
[roles]
id = "imagenet_1000"
transfer = "cifar10_500"
[data.imagenet_1000]
location = "{data}/imagenet_1000"
table = "labels.csv"
label = "wnid"
classes = "imagenet-1k"
[data.cifar10_500]
location = "{data}/cifar10_500"
table = "labels.csv"
[prompts]
set = "basic-3"
[thresholds]
"zero_shot.top1[imagenet_1000]" = {{ at_least = {demanded} }}
"""


@pytest.fixture(scope="module")
def main_job(shared, request, tmp_path_factory):
    """Run pytest on the suites as a user does, in a process of its own; one cache for all runs of this module."""
    folder = tmp_path_factory.mktemp("main")

    def run(demanded):
        profile = folder / "real.toml"
        profile.write_text(PROFILE.format(data=shared / "data", demanded=demanded))
        options = [f"--clip-profile={profile}", f"--clip-cache={folder}/cache", f"--clip-report={folder}/report"]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "--model=py:tests/real/effl0_minilm.py:load",
                "--clip-device=cpu",
                *options,
            ],
            cwd=request.config.rootpath,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads((folder / "report" / "report.json").read_text())

    return run


@pytest.fixture(scope="module")
def cold(main_job):
    return main_job(demanded=0.6)


@pytest.fixture(scope="module")
def warm(cold, main_job):
    return main_job(demanded=0.9)


def values(report):
    return {gate["measurement"]: gate["value"] for gate in report["gates"]}


def test_photographs_are_recognised_as_the_encoders_authors_measured(cold):
    done, report = cold
    assert done.returncode == 0, done.stdout
    assert values(report)["zero_shot.top1[imagenet_1000]"] == pytest.approx(0.631, abs=0.005)
    assert values(report)["zero_shot.top5[imagenet_1000]"] == pytest.approx(0.871, abs=0.005)
    assert report["encoded"]["images"] == 1000 + 500
    assert "zero_shot.top1[imagenet_1000]" in done.stdout


def test_the_second_run_encodes_nothing_and_finds_the_same(cold, warm):
    (_, first), (_, second) = cold, warm
    assert second["encoded"] == {"images": 0, "texts": 0}
    assert values(second) == values(first)


def test_a_threshold_out_of_reach_fails_with_the_reason(warm):
    done, report = warm
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "is below its threshold 0.9000" in done.stdout
    assert "outside the noise" in done.stdout
    assert "worst misses, the most confident first:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert report["verdicts"]["below_threshold"] == 1
