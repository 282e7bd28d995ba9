from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FACTOR_ROWS

from pytest_clip_robust.datasets.images.annotations import PROTOTYPES, read_factor_annotations
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import visual_factors
from pytest_clip_robust.properties.accuracy import top_k
from pytest_clip_robust.scoring.decisions import Decisions
from pytest_clip_robust.stats.intervals import wilson

IMAGENET_X = "CLIP_ROBUST_IMAGENETX"


def decisions(correct, **annotations):
    return Decisions(
        dataset="set",
        correct=np.array(correct, bool),
        labels=np.zeros(len(correct), np.int64),
        annotations={name: np.array(column, bool) for name, column in annotations.items()},
    )


def test_accuracy_and_error_ratio_by_hand():
    found = decisions([1, 1, 0, 0, 1, 0], pose=[1, 1, 1, 0, 0, 0], style=[0, 0, 0, 1, 0, 0])
    assert visual_factors.accuracy(found, "pose").value == pytest.approx(2 / 3)
    assert visual_factors.average(found).value == 0.5
    assert visual_factors.error_ratio(found, "pose").value == pytest.approx((1 / 3) / 0.5)
    worst = visual_factors.worst_factor(found)
    assert (worst.value, worst.n) == (0.0, 1)
    assert worst.details["accuracy.pose"] == pytest.approx(2 / 3)
    assert worst.details["n.style"] == 1


def test_the_mode_is_part_of_the_id():
    top = decisions([1, 0], pose=[1, 0], style=[0, 1])
    multi = decisions([1, 0], pose=[1, 0], style=[1, 1])
    assert visual_factors.accuracy(top, "pose").metric == "visual_factors.accuracy_top"
    assert visual_factors.accuracy(multi, "pose").metric == "visual_factors.accuracy_multi"


def test_misses_are_those_of_the_factor(predictions):
    found = predictions([[0, 1], [0, 1]], [0, 0], annotations={"pose": np.array([False, True])})
    assert [miss.sample for miss in visual_factors.accuracy(found, "pose").misses] == ["1.png"]


@pytest.mark.parametrize(
    ("found", "factor", "message"),
    [
        (decisions([1, 0]), "pose", "has no factor annotations"),
        (decisions([1, 0], pose=[1, 0]), "pse", r"does not annotate 'pse' \(did you mean 'pose'"),
        (decisions([1, 0], pose=[0, 0]), "pose", "no image carries 'pose'"),
        (decisions([1, 1], pose=[1, 0]), "pose", "every answer is correct"),
    ],
)
def test_a_factor_that_cannot_be_measured_is_an_error(found, factor, message):
    with pytest.raises(MeasurementError, match=message):
        visual_factors.error_ratio(found, factor)


def test_a_worst_factor_without_annotated_images_is_an_error():
    with pytest.raises(MeasurementError, match="no image carries any"):
        visual_factors.worst_factor(decisions([1, 0], pose=[0, 0]))


@given(FACTOR_ROWS, st.integers(1, 4))
def test_copies_change_only_n(rows, copies):
    one, many = build(rows), build(rows * copies)
    for measure in (lambda d: visual_factors.error_ratio(d, "pose"), visual_factors.worst_factor):
        assert measure(many).value == pytest.approx(measure(one).value)
        assert measure(many).n == copies * measure(one).n


@given(FACTOR_ROWS)
def test_values_are_in_bounds_and_the_worst_factor_is_the_minimum(rows):
    found = build(rows)
    accuracies = [visual_factors.accuracy(found, factor).value for factor in ("pose", "style")]
    worst = visual_factors.worst_factor(found)
    assert worst.value == min(accuracies)
    assert 0 <= worst.interval.low <= worst.interval.high <= 1
    ratio = visual_factors.error_ratio(found, "pose")
    error = 1 - visual_factors.average(found).value
    assert ratio.value == pytest.approx((1 - accuracies[0]) / error)


def build(rows):
    correct, pose, style = zip(*rows, strict=True)
    return decisions(correct, pose=pose, style=style)


@pytest.fixture(scope="module")
def published(shared):
    """Return per-image decisions of two published models on ImageNet's validation set."""
    folder = shared / "data" / "imagenetx"
    with gzip.open(folder / "filename_label.csv.gz", "rt") as file:
        truth = {row["file_name"]: int(row["label"]) for row in csv.DictReader(file)}
    models = {}
    for model in ("ResNet50", "ViT"):
        with gzip.open(folder / f"{model}.csv.gz", "rt") as file:
            models[model] = {row["file_name"]: int(row["predicted_class"]) for row in csv.DictReader(file)}
    return folder, truth, models


def decide_published(published, model, annotations=None):
    _, truth, models = published
    files = sorted(models[model]) if annotations is None else sorted(models[model].keys() & annotations.rows.keys())
    table = None if annotations is None else np.array([annotations.rows[file] for file in files])
    return Decisions(
        dataset="imagenet-x",
        correct=np.array([models[model][file] == truth[file] for file in files]),
        labels=np.array([truth[file] for file in files], np.int64),
        samples=files,
        annotations={} if table is None else dict(zip(annotations.columns, table.T, strict=True)),
    )


def test_published_top1_of_resnet50(published):
    measured = top_k(decide_published(published, "ResNet50"))
    assert round(measured.value, 4) == 0.7613
    assert measured.n == 50_000


@pytest.fixture
def official(published):
    """Return ImageNet-X's annotations without the prototypes, which its published numbers exclude."""
    folder = Path(os.environ.get(IMAGENET_X, published[0]))
    if not (folder / PROTOTYPES).is_file():
        pytest.skip(f"no {PROTOTYPES} of facebookresearch/imagenetx; set {IMAGENET_X} to its folder of annotations")
    return read_factor_annotations(next(folder.glob("imagenet_x_val_top_factor.jsonl*")))


def test_published_error_ratios_of_resnet50(published, official, shared):
    found = decide_published(published, "ResNet50", official)
    assert len(found) == 46_110
    sizes = json.loads((shared / "golden" / "golden.json").read_text())["imagenet_x_factor_sizes"]
    assert {factor: visual_factors.accuracy(found, factor).n for factor in visual_factors.FACTORS} == {
        factor: sizes[factor] for factor in visual_factors.FACTORS
    }
    assert round(visual_factors.average(found).value, 4) == 0.7467
    for factor, ratio in (("pose", 0.6947), ("texture", 2.3939), ("subcategory", 2.1055)):
        assert round(visual_factors.error_ratio(found, factor).value, 4) == ratio
    assert visual_factors.mode(found) == "top"


@pytest.mark.parametrize("model", ["ResNet50", "ViT"])
def test_every_factor_of_published_models_equals_plain_counting(published, model):
    folder, truth, models = published
    annotations = read_factor_annotations(folder / "imagenet_x_val_top_factor.jsonl.gz")
    found = decide_published(published, model, annotations)
    wrong_all = [models[model][file] != truth[file] for file in found.samples]
    for place, factor in enumerate(annotations.columns):
        wrong = [models[model][file] != truth[file] for file in found.samples if annotations.rows[file][place]]
        ratio = visual_factors.error_ratio(found, factor)
        assert ratio.n == len(wrong)
        assert ratio.value == pytest.approx((sum(wrong) / len(wrong)) / (sum(wrong_all) / len(wrong_all)))
        assert ratio.interval.low < ratio.value < ratio.interval.high


@pytest.mark.parametrize("correct", [True, False])
def test_few_images_that_are_all_correct_or_wrong_leave_the_worst_factor_an_interval(correct):
    found = decisions([correct] * 5, pose=[1, 1, 1, 0, 0], style=[0, 0, 0, 1, 1])

    interval = visual_factors.worst_factor(found).interval

    assert interval.high - interval.low == pytest.approx(wilson(2 * correct, 2).high - wilson(2 * correct, 2).low)
    assert (interval.high if correct else interval.low) == float(correct)
