"""``pytest --clip-check``: a table for each model, an exit code, and no tests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pytest_clip_robust.evaluation.model_check
import pytest_clip_robust.plugin.model_check
import pytest_clip_robust.report.checks  # noqa: F401 - runs inside of this process forget what they import

BRIGHT = '''
"""A dual encoder that knows brightness only: healthy numbers, and no idea of objects."""
import numpy as np


class Bright:
    scale, bias, identity = 10.0, 0.0, "bright 1"

    def preprocess(self, image):
        pixels = np.asarray(image.resize((8, 8)), dtype=np.float32).transpose(2, 0, 1) / 255
        return (pixels - 0.5) / 0.5

    def encode_image(self, pixels):
        return pixels.reshape(len(pixels), -1)

    def encode_text(self, texts):
        numbers = [np.random.default_rng(sum(map(ord, text))) for text in texts]
        return np.array([one.normal(size=192) for one in numbers], dtype=np.float32)


load = Bright


def load_nan():
    bright = Bright()
    bright.encode_image = lambda pixels: pixels.reshape(len(pixels), -1) * float("nan")
    return bright
'''


@pytest.fixture
def bright(pytester):
    pytester.makepyfile(bright=BRIGHT)
    return pytester


def test_a_healthy_model_passes_in_a_folder_without_tests(bright):
    result = bright.runpytest("--clip-check", "--model", "py:bright:load")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= clip check =*",
            "py:bright:load",
            "verdict *check *measured *expected*",
            "ok *pixels *mean 0.500, deviation 0.500 *",
            "ok *scale *scale 10, bias 0 *2 to 100*",
            "warning *matching *of 16 pictures (p *",
            "warning matching: it does not recognise everyday objects*",
            "1 warning, * ok, * not applicable; * s",
            "*= 1 of 1 models passed =*",
        ]
    )
    result.stdout.no_fnmatch_line("*collected*")


def test_a_fault_fails_and_other_models_are_still_checked(bright):
    models = ("py:bright:load_nan", "py:bright:nothing", "py:bright:load")
    arguments = [text for model in models for text in ("--model", model)]
    result = bright.runpytest("--clip-check", *arguments, "--clip-report", "checks")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "failed *finite *3,072 of 6,144 values with NaN or Inf *",
            "failed finite: features overflow: check the weights*",
            "py:bright:nothing",
            "failed *parameters *bright has no 'nothing'*",
            "py:bright:load",
            "report: checks/check.json",
            "*= 2 of 3 models failed =*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    document = json.loads((bright.path / "checks" / "check.json").read_text())
    assert document["exit_status"] == 1
    assert [(one["label"], one["failed"]) for one in document["models"]] == [
        (models[0], True),
        (models[1], True),
        (models[2], False),
    ]
    finite = next(row for row in document["models"][0]["checks"] if row["name"] == "finite")
    assert finite["status"] == "failed"
    assert finite["fix"].startswith("features overflow")


def test_the_reference_is_checked_too_and_last(bright):
    result = bright.runpytest("--clip-check", "--model", "py:bright:load", "--clip-reference", "py:bright:load_nan")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["py:bright:load", "py:bright:load_nan", "*= 1 of 2 models failed =*"])


def test_no_model_is_a_usage_error(bright):
    result = bright.runpytest("--clip-check")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clip-check: no model given; for example: pytest --clip-check --model *"])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--clip-device", "cuda:99"], "ERROR: --clip-device 'cuda:99': this machine has * CUDA GPUs"),
        (["--clip-precision", "int3"], "ERROR: --clip-precision 'int3': expected one of *"),
        (["--clip-report", "taken"], "ERROR: --clip-report *: cannot write check.json: *"),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_one_line(bright, options, line):
    (bright.path / "taken").write_text("a file")
    result = bright.runpytest("--clip-check", "--model", "py:bright:load", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])


def test_tests_are_not_collected_and_no_worker_is_started(bright):
    bright.makepyfile(test_it="raise RuntimeError('collected')")
    bright.makeconftest("def pytest_sessionstart(session): raise RuntimeError('started')")
    result = bright.runpytest("--clip-check", "--model", "py:bright:load", "-n", "2")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*RuntimeError*")


def test_models_of_the_ini_file_are_checked(bright):
    bright.makeini("[pytest]\nclip_model = py:bright:load\n")
    assert bright.runpytest("--clip-check").ret == pytest.ExitCode.OK
    result = bright.runpytest("--clip-check", "--help")
    result.stdout.fnmatch_lines(["*--clip-check*"])
    result.stdout.no_fnmatch_line("*= clip check =*")


def test_runs_without_the_option_import_nothing_for_it(bright):
    code = (
        "import sys, pytest; pytest.main(['--version']);"
        "found = [name for name in sys.modules if 'model_check' in name or name == 'torch']; assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=bright.path)
    assert done.returncode == 0, done.stderr


def test_the_showroom_passes(pytester):
    result = pytester.runpytest("--clip-check", "--clip-model", "showroom-clip", "--clip-device", "cpu")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["ok *matching *16 of 16 pictures (p 5e-20)*", "14 ok, 3 not applicable; *", "*= 1 of 1 models passed =*"]
    )
