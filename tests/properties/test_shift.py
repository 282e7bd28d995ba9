from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from pytest_clip_robust.errors import DataError, MeasurementError
from pytest_clip_robust.properties.shift import (
    Panel,
    accuracy_under_shift,
    effective_robustness,
    fit_line,
    read_panel,
    relative_robustness,
)


@pytest.fixture
def panel():
    base = np.array([0.3, 0.45, 0.6, 0.75])
    return Panel(("a", "b", "c", "d"), base, expit(0.9 * logit(base) - 0.7))


def test_relative_robustness_uses_the_classes_of_the_shift(predictions):
    base = predictions([[9, 5, 0], [0, 9, 1], [9, 0, 5], [0, 9, 5]], [0, 1, 2, 2])
    part = {"class_names": ("c0", "c2"), "class_ids": ("c0", "c2")}
    moved = predictions([[9, 0], [9, 0]], [0, 1], **part)
    measured = relative_robustness(base, moved)
    # The ID images 0, 2 and 3 are of the classes c0 and c2; 0 and 3 are correct if c1 is excluded.
    assert measured.details["id_accuracy"] == pytest.approx(2 / 3)
    assert measured.value == pytest.approx(0.5 / (2 / 3))
    assert measured.details["id_n"] == 3


def test_relative_robustness_of_a_set_to_itself_is_one(random_predictions):
    found = random_predictions()
    measured = relative_robustness(found, found)
    assert measured.value == 1
    assert measured.interval.low < 1 < measured.interval.high
    assert accuracy_under_shift(found).metric == "shift.top1"


def test_the_error_for_a_shift_with_new_classes_suggests_the_role_transfer(random_predictions):
    strange = random_predictions(class_ids=tuple(f"x{i}" for i in range(10)))
    with pytest.raises(
        MeasurementError, match="has 10 classes that 'set' lacks, first 'x0'; give it the role 'transfer'"
    ):
        relative_robustness(random_predictions(), strange)


def test_the_line_equals_scipys(panel):
    slope, intercept = fit_line(panel)
    line = stats.linregress(logit(panel.id_accuracy), logit(panel.shifted_accuracy))
    assert (slope, intercept) == pytest.approx((line.slope, line.intercept))
    assert (slope, intercept) == pytest.approx((0.9, -0.7))


@pytest.mark.parametrize("axis", ["logit", "probit"])
def test_a_model_on_the_line_has_no_effective_robustness(predictions, axis):
    forward, backward = (logit, expit) if axis == "logit" else (stats.norm.ppf, stats.norm.cdf)
    base = np.array([0.2, 0.5, 0.8])
    panel = Panel(("a", "b", "c"), base, backward(forward(base) - 1))
    found = predictions([[1, 0]] * 60 + [[0, 1]] * 40, [0] * 100)
    expected = backward(forward(0.6) - 1)
    right = round(1000 * expected)
    moved = predictions([[1, 0]] * right + [[0, 1]] * (1000 - right), [0] * 1000)
    measured = effective_robustness(found, moved, panel, axis=axis)
    assert measured.metric == f"shift.effective_robustness_{axis}"
    assert measured.value == pytest.approx(100 * (right / 1000 - expected), abs=1e-6)
    assert abs(measured.value) < 0.1
    assert measured.interval.low < 0 < measured.interval.high


def test_an_accuracy_of_one_is_clipped_to_a_finite_logit(predictions, panel):
    perfect = predictions([[1, 0]] * 10, [0] * 10)
    measured = effective_robustness(perfect, perfect, panel)
    assert np.isfinite(measured.value)


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_panel_is_read_from_a_csv_file(tmp_path):
    rows = [["name", "id", "shifted"], ["a", 0.3, 0.2], ["b", 0.5, 0.3], ["c", 0.7, 0.6]]
    panel = read_panel(write(tmp_path / "panel.csv", rows))
    assert panel.names == ("a", "b", "c")
    assert panel.shifted_accuracy.tolist() == [0.2, 0.3, 0.6]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([["name", "id"]], DataError, "no column 'shifted'"),
        ([["name", "id", "shiftd"]], DataError, r"no column 'shifted' \(did you mean 'shiftd'"),
        ([["name", "id", "shifted"], ["a", "x", 1]], DataError, "could not convert"),
        ([["name", "id", "shifted"], ["a", 0.3]], DataError, "expected numbers"),
        ([["name", "id", "shifted"], ["a", 0.3, 0.2]], MeasurementError, "a panel of 1 models"),
        (
            [["name", "id", "shifted"], ["a", 30, 0.2], ["b", 0.5, 0.3], ["c", 0.7, 0.6]],
            MeasurementError,
            "'a' has the ID accuracy 30.0; expected a share",
        ),
    ],
)
def test_an_invalid_panel_is_a_one_line_error(tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        read_panel(write(tmp_path / "panel.csv", rows))


def test_published_results_of_open_clip_are_close_to_a_line(shared, tmp_path):
    with (shared / "golden" / "openclip" / "openclip_results.csv").open() as file:
        rows = [
            (row["name"] + row["pretrained"], float(row["ImageNet 1k"]), float(row["ImageNet Sketch"]))
            for row in csv.DictReader(file)
        ]
    panel = read_panel(write(tmp_path / "panel.csv", [("name", "id", "shifted"), *rows]))
    slope, _ = fit_line(panel)
    # CLIP models are close to a line (Taori et al. 2020 for ImageNet models), which is steeper for strong models.
    assert 0.8 < slope < 1.5
    assert np.corrcoef(logit(panel.id_accuracy), logit(panel.shifted_accuracy))[0, 1] > 0.95
