"""Series of checkpoints in whole runs: all of them in order, or by bisection with ``clip-robust series``."""

from __future__ import annotations

import csv

import pytest

from pytest_clip_robust import cli

EPOCHS, BROKEN = 3, 2
SUITE = """
from pytest_clip_robust.properties import accuracy

def test_top1(model, gate):
    gate(accuracy.top_k(model.zero_shot("photos")))
"""


@pytest.fixture
def training(crowd):
    """Saved answers of three epochs; from the second on, a third of them is wrong."""
    crowd.makepyfile(test_suite=SUITE)
    photos = sorted((crowd.path / "photos").rglob("*.png"))
    names = sorted({photo.parent.name for photo in photos})
    (crowd.path / "runs").mkdir()
    for epoch in range(1, EPOCHS + 1):
        with (crowd.path / "runs" / f"epoch_{epoch}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", "answer"])
            for number, photo in enumerate(photos):
                wrong = epoch >= BROKEN and number % 3 == 0
                label = photo.parent.name
                answer = next(name for name in names if name != label) if wrong else label
                writer.writerow([photo.relative_to(crowd.path / "photos"), answer])
    return crowd


def test_bisection_names_the_first_broken_epoch(training, capfd, forked_workers):
    arguments = ["series", "--model=predictions:runs/epoch_*.csv", "--clip-profile=profile.toml"]
    assert cli.main([*arguments, "--", "test_suite.py", "-q"]) == 1
    shown = capfd.readouterr().out
    table = shown[shown.index("checkpoints measured") - 8 :]
    assert "3 of 3 checkpoints measured: epoch_1.csv, epoch_2.csv, epoch_3.csv" in table
    assert "zero_shot.top1[photos]: broke at epoch_2.csv (regressed, 1 -> 0.6667); sound at epoch_1.csv" in table


def test_one_run_can_measure_all_of_them_in_order(training):
    result = training.runpytest(
        "--model=predictions:runs/epoch_*.csv",
        "--clip-profile=profile.toml",
        "--clip-reference=predictions:runs/epoch_1.csv",
    )
    result.assert_outcomes(passed=1, failed=2)
    names = [line for line in result.outlines if line.startswith("test_suite.py")]
    assert names
    result.stdout.fnmatch_lines([
        "3 of 3 checkpoints measured: epoch_1.csv, epoch_2.csv, epoch_3.csv",
        "zero_shot.top1[[]photos[]]*1*0.6667*█▁▁*",
        "zero_shot.top1[[]photos[]]: broke at epoch_2.csv (regressed, 1 -> 0.6667); sound at epoch_1.csv",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("predictions:runs/epoch_1.csv", "a series needs two or more checkpoints; write * where names differ"),
        ("predictions:runs/step_*.csv", "no file or folder is like runs/step_*.csv; check the path"),
    ],
)
def test_what_is_no_series_is_said_in_one_line(training, capsys, model, message):
    assert cli.main(["series", f"--model={model}", "--clip-profile=profile.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
