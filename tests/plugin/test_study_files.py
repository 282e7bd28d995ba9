"""Tables of the study that a panel run writes: robustness to factors, and the factor analysis."""

from __future__ import annotations

import csv

import pytest
from handmade_panels import model, table

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.plugin.study_files import ANALYSIS_COLUMNS, write_study


def panel(references=6):
    """Return reference models and two zero-shot models with two factors; every loss has a training set of its own."""
    values = {}
    for i in range(references + 2):
        average, clip = 0.4 + 0.05 * i, i >= references
        one = model(
            f"m{i}",
            fine_tuning="zero-shot" if clip else "supervised",
            loss="softmax" if i % 2 else "sigmoid",
            training_data="A" if i % 2 else "B",
        )
        values[one] = {
            "visual_factors.average[x]": average,
            "visual_factors.accuracy_top[x/pose]": average - 0.1 + 0.02 * clip,
            "visual_factors.accuracy_top[x/color]": average + 0.05,
        }
    return table(values)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_both_tables_are_written_with_one_row_per_factor(tmp_path):
    lines = write_study(panel(), tmp_path)
    robustness = read(tmp_path / "factor_robustness.csv")
    assert [row["factor"] for row in robustness] == ["pose"] * 8 + ["color"] * 8
    assert [row["reference"] for row in robustness[:8]] == ["True"] * 6 + ["False"] * 2
    analysis = read(tmp_path / "factor_analysis.csv")
    assert list(analysis[0]) == list(ANALYSIS_COLUMNS)
    assert [row["factor"] for row in analysis] == [
        "all", "architecture", "training data", "training size", "fine-tuning", "loss", "prompts",
    ]  # fmt: skip
    assert analysis[-1]["alone"] == ""
    assert (
        "factor_analysis.csv: loss goes together with training data in this panel: they cannot be told apart" in lines
    )
    assert "factor_analysis.csv: prompts has one level in this panel, so its share is not known" in lines


def test_a_table_that_cannot_be_made_is_one_line_and_no_file(tmp_path):
    lines = write_study(panel(references=2), tmp_path)
    assert [line.partition(":")[0] for line in lines] == ["no factor_robustness.csv", "no factor_analysis.csv"]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"cannot write factor_robustness\.csv"):
        write_study(panel(), tmp_path / "file")
