"""Processes started side by side by torchrun or Slurm: each encodes its share, and none measures."""

from __future__ import annotations

import errno
import json
import re

import pytest
import torch

from pytest_clip_robust.encoding.store import features
from pytest_clip_robust.system.device import resolve_device

MODEL = "--model=py:colour_clip:load"
PROFILE = "--clip-profile=profile.toml"
REFERENCE = "--clip-reference=py:colour_clip:load_other"
MEASURE = "run pytest without RANK and WORLD_SIZE to measure"


@pytest.fixture
def as_rank(monkeypatch):
    """Make the runs that follow in this process those of one rank; without numbers, of none."""

    def become(rank=None, world_size=None):
        for name, value in (("RANK", rank), ("WORLD_SIZE", world_size)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))

    become()
    return become


def gates_of(pytester, folder):
    return json.loads((pytester.path / folder / "report.json").read_text())["gates"]


def encoded(text):
    """Read how many images and texts a rank says it encoded."""
    return [int(number) for number in re.search(r"encoded (\d+) images and (\d+) texts, and left", text).groups()]


def test_ranks_fill_the_store_together_and_a_run_after_them_encodes_nothing(crowd, start_session, as_rank):
    ranks = [start_session(MODEL, REFERENCE, PROFILE, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    counts = [encoded(rank.output) for rank in ranks]
    assert [sum(column) for column in zip(*counts, strict=True)] == [264, 6]
    assert all(images > 80 for images, _ in counts)
    result = crowd.runpytest(MODEL, REFERENCE, PROFILE, "--clip-report=after")
    result.stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])
    crowd.runpytest(MODEL, REFERENCE, PROFILE, "--clip-report=scratch", "--clip-cache=new").assert_outcomes(passed=4)
    assert gates_of(crowd, "after") == gates_of(crowd, "scratch")


def test_a_rank_judges_nothing_and_says_so(colours, as_rank):
    """The profile asks for more than any model could reach, and a baseline of another model is there."""
    profile = colours.path / "profile.toml"
    profile.write_text(profile.read_text().replace("0.9", "1.1"))
    as_rank(1, 4)
    result = colours.runpytest(MODEL, PROFILE, "--clip-report=out", "--clip-strict", "-rs")
    result.assert_outcomes(skipped=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            f"clip-robust: rank 1 of 4 encodes its share of the samples and judges nothing; {MEASURE}",
            f"rank 1 of 4 encoded * images and * texts, and left * samples to the other ranks; *: {MEASURE}",
            f"SKIPPED [[]1] *: rank 1 of 4 only encodes its share; {MEASURE}",
        ]
    )
    result.stdout.no_fnmatch_line("*zero_shot.top1*")
    assert not (colours.path / "out").exists()


def test_every_sample_is_encoded_once_whatever_the_order_of_ranks_and_tests(crowd, as_rank):
    counts = []
    for rank, options in ((2, []), (0, ["-k", "shift"]), (0, []), (1, ["-p", "no:randomly"])):
        as_rank(rank, 3)
        counts.append(encoded(crowd.runpytest(MODEL, PROFILE, *options).stdout.str()))
    assert [sum(column) for column in zip(*counts, strict=True)] == [132, 3]
    as_rank()
    crowd.runpytest(MODEL, PROFILE).stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])


def test_ranks_with_nothing_of_their_own_go_on_all_the_same(colours, as_rank):
    """Of 15 samples in 40 shares most ranks have none."""
    total = 0
    for rank in range(0, 40, 5):
        as_rank(rank, 40)
        result = colours.runpytest(MODEL, PROFILE)
        result.assert_outcomes(skipped=1)
        images, texts = encoded(result.stdout.str())
        total += images + texts
        left = int(re.search(r"left (\d+) samples", result.stdout.str())[1])
        assert left + total == 15


def test_what_a_user_s_test_makes_of_stand_ins_is_neither_a_failure_nor_a_pass(colours, as_rank):
    colours.makepyfile(
        test_own="""
        import pytest

        def test_asserts(model):
            assert model.zero_shot("photos").logits.sum() == 12345

        def test_chokes(model):
            raise ZeroDivisionError(model.zero_shot("photos"))

        def test_passes(model):
            model.zero_shot("photos")

        @pytest.mark.xfail(strict=True)
        def test_expects_failure(model):
            model.zero_shot("photos")

        @pytest.fixture
        def value(model):
            return {}[float(model.zero_shot("photos").logits.sum())]

        def test_asks_a_fixture(value):
            pass

        def test_needs_no_model():
            pass
        """
    )
    as_rank(0, 2)
    colours.runpytest(MODEL, PROFILE, "test_own.py").assert_outcomes(skipped=5, passed=1)


def test_a_bug_before_any_stand_in_is_a_failure(colours, as_rank):
    colours.makepyfile(test_own="def test_bug(model):\n    {}['no such key']")
    as_rank(0, 2)
    result = colours.runpytest(MODEL, PROFILE, "test_own.py")
    result.assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model=py:colour_clip:load_broken"], "*no weights today"),
        ([MODEL, "--clip-reference=py:colour_clip:load_broken"], "the reference could not be measured: *no weights*"),
        (["--model=py:colour_clip:load_failing"], "*encoding failed: ValueError: no such layer"),
    ],
)
def test_a_model_that_fails_fails_in_every_rank(colours, as_rank, arguments, complaint):
    with (colours.path / "colour_clip.py").open("a") as file:
        file.write(
            "\n\nclass Failing(ColourClip):\n"
            "    calls = 0\n"
            "    def encode_image(self, pixels):\n"
            "        self.calls += 1\n"
            "        if self.calls > 2: raise ValueError('no such layer')\n"  # the first two are the checks
            "        return super().encode_image(pixels)\n"
            "load_failing = Failing\n"
        )
    as_rank(0, 2)
    result = colours.runpytest(*arguments, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([complaint])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_image_that_is_broken_fails_in_the_rank_whose_share_it_is(colours, as_rank):
    (colours.path / "photos" / "red" / "red_0.png").write_bytes(b"no image")
    outcomes = []
    for rank in range(2):
        as_rank(rank, 2)
        outcomes.append(colours.runpytest(MODEL, PROFILE).parseoutcomes())
    assert sorted(outcomes, key=str) == [{"failed": 1}, {"skipped": 1}]


def test_a_store_that_cannot_be_written_fails_the_rank_whose_work_is_lost(colours, as_rank, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features, "write_whole", refuse)
    as_rank(0, 2)
    result = colours.runpytest(MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "feature store cache/features: cannot be written (No space*",
            "* features could not be stored and are lost; run *",
        ]
    )


@pytest.mark.parametrize(
    ("rank", "options", "complaint"),
    [
        ("4", [], "RANK=4: expected a number from 0 to 3 (WORLD_SIZE=4)"),
        (None, [], "WORLD_SIZE=4 without RANK: *"),
        ("0", ["-n2"], "-n cannot be combined with WORLD_SIZE=4; *"),
        ("0", ["--snapshot-update"], "--snapshot-update: rank 0 of 4 only encodes and measures nothing; *"),
    ],
)
def test_what_ranks_cannot_do_is_a_usage_error(colours, as_rank, rank, options, complaint):
    as_rank(rank, 4)
    result = colours.runpytest(MODEL, PROFILE, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])


def test_a_world_of_one_and_runs_without_a_model_are_as_ever(colours, as_rank):
    as_rank(0, 1)
    colours.runpytest(MODEL, PROFILE, "-n0").assert_outcomes(passed=1)
    as_rank(9, 4)
    colours.makepyfile(test_suite="def test_it(): pass")
    colours.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("asked", "local_rank", "device"),
    [
        ("auto", 0, "cuda:0"),
        ("auto", 5, "cuda:1"),
        ("cuda", 3, "cuda:1"),
        ("cuda:1", 0, "cuda:1"),
        ("auto", None, "cuda"),
    ],
)
def test_a_rank_s_gpu_is_that_of_its_number_on_the_machine(monkeypatch, asked, local_rank, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device(asked, local_rank=local_rank) == device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", local_rank=local_rank) == "cpu"
