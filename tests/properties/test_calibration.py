"""Tests of calibration against published numbers, scikit-learn, torchmetrics and naive implementations."""

from __future__ import annotations

import csv
import gzip
import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss
from strategies import CONFIDENT_ANSWERS, logits

from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import calibration
from pytest_clip_robust.scoring.confidence import (
    COLDEST,
    HOTTEST,
    Confidences,
    bin_of,
    fit_temperature,
    halves,
    probability_confidences,
    sigmoid_confidences,
    softmax_confidences,
)
from pytest_clip_robust.stats.resampling import interval_of


@pytest.fixture(scope="module", autouse=True)
def _few_replicates():
    """Use few replicates: values do not depend on them, and most tests are about values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "interval_of", partial(interval_of, replicates=20))
        yield


def reliability(confidence, correct, **fields):
    return Confidences(
        **{
            "dataset": "set",
            "confidence": np.asarray(confidence, float),
            "correct": np.asarray(correct, bool),
            "n_classes": 10,
        }
        | fields
    )


def value(found, metric):
    return calibration.measure(found, metric).value


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "golden.json").read_text())["calibration"]


@pytest.mark.parametrize(("model", "ece"), [("ResNet50", 0.037308), ("ViT", 0.014125)])
def test_published_models_on_imagenet(shared, golden, model, ece):
    folder = shared / "data" / "imagenetx"
    with gzip.open(folder / "filename_label.csv.gz", "rt") as file:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(file)}
    with gzip.open(folder / f"{model}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    found = reliability(
        [float(row["predicted_probability"]) for row in rows],
        [row["predicted_class"] == truth[row["file_name"]] for row in rows],
        n_classes=1000,
    )
    published = golden[f"imagenetx/{model}"]
    assert round(value(found, "ece_15_equal_width"), 6) == ece
    assert_diagram_is(found, published)
    assert value(found, "ece_15_equal_width") == pytest.approx(published["standard_ece15"], abs=1e-12)
    assert value(found, "ece_15_equal_mass") == pytest.approx(published["equal_mass_ece15"], abs=1e-12)
    assert value(found, "mce_15") == pytest.approx(published["mce15"], abs=1e-12)
    assert found.accuracy == pytest.approx(published["acc"])
    assert found.confidence.mean() == pytest.approx(published["mean_conf"])


def assert_diagram_is(found, published):
    """Check other published errors that follow from the reliability diagram."""
    plot = calibration.measure(found, "ece_15_equal_width").plot
    gaps = np.abs(plot["accuracy"] - plot["confidence"])
    assert gaps.mean() == pytest.approx(published["ace_nonempty_equal_width_15"], abs=1e-9)
    # torchmetrics has a sixteenth bin for a confidence of exactly 1, which changes all but the sum of absolute gaps.
    bins = np.where(found.confidence == 1, 15, bin_of(found.confidence))
    sums = np.bincount(bins, found.correct - found.confidence)
    sizes = np.maximum(np.bincount(bins), 1)
    assert ((sums**2 / sizes).sum() / len(found)) ** 0.5 == pytest.approx(published["torchmetrics_ece15_l2"], abs=1e-6)


@pytest.fixture(scope="module")
def wide_resnet(shared):
    with np.load(shared / "golden" / "netcal" / "wideresnet-16-4-cifar-10.npz") as dump:
        return dump["predictions"], dump["ground_truth"]


def test_a_published_dump_of_probabilities(wide_resnet, golden):
    probabilities, labels = wide_resnet
    found = probability_confidences(probabilities, labels)
    published = golden["netcal_records/cifar10/wideresnet-16-4-cifar-10.npz"]
    assert (found.confidence == 1).sum() == published["n_conf_eq_1"] == 2469
    assert round(value(found, "ece_15_equal_width"), 6) == 0.053716
    assert_diagram_is(found, published)
    for metric, name in (
        ("ece_15_equal_width", "standard_ece15"),
        ("ece_15_equal_mass", "equal_mass_ece15"),
        ("mce_15", "mce15"),
        ("brier", "brier_multiclass"),
    ):
        assert value(found, metric) == pytest.approx(published[name], abs=1e-9)
    # Nine probabilities of the true class are 0; libraries clip them at different values.
    assert value(found, "nll") == pytest.approx(published["nll"], abs=1e-6)


def test_probabilities_and_logits_give_the_same_values(random_predictions):
    predictions = random_predictions(n=500, skill=1.5)
    by_logits = softmax_confidences(predictions)
    by_probabilities = probability_confidences(softmax(predictions.logits.astype(float), axis=1), predictions.labels)
    for metric in calibration.METRICS:
        assert value(by_logits, metric) == pytest.approx(value(by_probabilities, metric), abs=1e-6)


def test_losses_equal_scikit_learns(random_predictions):
    predictions = random_predictions(n=400, classes=5, skill=1.0)
    probabilities = softmax(predictions.logits.astype(float), axis=1)
    found = softmax_confidences(predictions)
    assert value(found, "nll") == pytest.approx(log_loss(predictions.labels, probabilities, labels=range(5)), abs=1e-6)
    one_against_all = [brier_score_loss(predictions.labels == c, probabilities[:, c]) for c in range(5)]
    assert value(found, "brier") == pytest.approx(sum(one_against_all), abs=1e-6)


def test_ece_equals_torchmetrics(random_predictions):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    predictions = random_predictions(n=2000, skill=1.0)
    found = softmax_confidences(predictions)
    theirs = [
        float(
            functional.multiclass_calibration_error(
                torch.from_numpy(softmax(predictions.logits.astype(float), axis=1)),
                torch.from_numpy(predictions.labels),
                num_classes=10,
                n_bins=15,
                norm=norm,
            )
        )
        for norm in ("l1", "max")
    ]
    assert [value(found, "ece_15_equal_width"), value(found, "mce_15")] == pytest.approx(theirs, abs=1e-6)


def slow_ece(confidence, correct):
    total = 0.0
    for i in range(15):
        low, high = i / 15, (i + 1) / 15
        inside = [
            (c, ok)
            for c, ok in zip(confidence, correct, strict=True)
            if (low < c or (i == 0 and c == 0)) and (c <= high or i == 14)
        ]
        if inside:
            total += abs(sum(ok for _, ok in inside) - sum(c for c, _ in inside))
    return total / len(confidence)


@given(CONFIDENT_ANSWERS)
def test_ece_equals_a_naive_implementation_on_the_edges_of_bins(answers):
    # 1/15 is in the first bin, 0.2 in the third, 1.0 in the last, 0.0 in the first.
    confidence, correct = zip(*answers, strict=True)
    assert value(reliability(confidence, correct), "ece_15_equal_width") == pytest.approx(slow_ece(confidence, correct))


@given(CONFIDENT_ANSWERS, st.randoms(use_true_random=False), st.integers(2, 3))
def test_values_do_not_depend_on_order_and_width_errors_not_on_copies(answers, random, copies):
    shuffled = random.sample(answers, len(answers))
    one, other, many = (reliability(*zip(*rows, strict=True)) for rows in (answers, shuffled, answers * copies))
    for metric in ("ece_15_equal_width", "ece_15_equal_mass", "mce_15", "aurc"):
        assert value(one, metric) == pytest.approx(value(other, metric), abs=1e-12)
    for metric in ("ece_15_equal_width", "mce_15"):
        assert value(one, metric) == pytest.approx(value(many, metric), abs=1e-12)


@given(CONFIDENT_ANSWERS)
def test_bounds_and_the_order_of_the_errors(answers):
    found = reliability(*zip(*answers, strict=True))
    measured = {metric: calibration.measure(found, metric) for metric in ("ece_15_equal_width", "mce_15", "aurc")}
    for one in measured.values():
        assert 0 <= one.interval.low <= one.value <= one.interval.high <= 1
    # The overall gap is at most the mean of the bins' gaps, which is at most the largest gap.
    ece = measured["ece_15_equal_width"].value
    assert abs(found.gap) - 1e-12 <= ece <= measured["mce_15"].value + 1e-12


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60, unique_by=lambda row: row[0]))
def test_ece_of_equal_mass_splits_the_sorted_samples(answers):
    """Without ties, the order of samples is unique; another test shows that ties do not matter."""
    confidence, correct = (np.array(column, float) for column in zip(*sorted(answers), strict=True))
    parts = np.array_split(np.arange(len(answers)), 15)
    expected = sum(abs((correct - confidence)[rows].sum()) for rows in parts) / len(answers)
    found = reliability(confidence, correct)
    assert value(found, "ece_15_equal_mass") == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=30, max_size=80))
def test_the_debiased_error_subtracts_the_variance_of_each_bin(answers):
    found = reliability(*zip(*answers, strict=True))
    order = np.argsort(found.confidence, kind="stable")
    sure = found.confidence[order]
    right = np.array([found.correct[order][sure == one].mean() for one in sure])
    squared = 0.0
    for rows in np.array_split(np.arange(len(order)), 15):
        accuracy = right[rows].mean()
        variance = accuracy * (1 - accuracy) / (len(rows) - 1)
        squared += len(rows) * ((accuracy - sure[rows].mean()) ** 2 - variance)
    expected = max(squared / len(order), 0) ** 0.5
    assert value(found, "rms_ce_15_debiased") == pytest.approx(expected, abs=1e-9)


def test_the_debiased_error_of_a_calibrated_model_is_near_zero_unlike_its_ece():
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(200):
        confidence = rng.uniform(0.3, 1, 150)
        found = reliability(confidence, rng.random(150) < confidence)
        plain.append(value(found, "ece_15_equal_width"))
        debiased.append(value(found, "rms_ce_15_debiased") ** 2)
    assert np.mean(plain) > 0.07
    assert np.mean(debiased) < 0.006


def slow_aurc(confidence, correct, rng):
    order = np.lexsort((rng.random(len(confidence)), -np.asarray(confidence)))
    wrong = ~np.asarray(correct)[order]
    return (np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean()


@given(CONFIDENT_ANSWERS)
def test_aurc_is_the_mean_over_random_orders_of_ties(answers):
    confidence, correct = zip(*answers, strict=True)
    rng = np.random.default_rng(0)
    slow = [slow_aurc(confidence, correct, rng) for _ in range(100)]
    found = value(reliability(confidence, correct), "aurc")
    assert found == pytest.approx(np.mean(slow), abs=4 * np.std(slow) / 100**0.5 + 1e-9)


def test_aurc_of_a_perfect_ranking_has_no_excess():
    measured = calibration.measure(reliability([0.9, 0.8, 0.7, 0.6], [True, True, False, False]), "aurc")
    assert measured.value == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert measured.details["excess"] == pytest.approx(0)
    assert measured.plot["risk"][-1] == 0.5


def test_classwise_ece_and_the_brier_decomposition_equal_plain_loops(random_predictions):
    predictions = random_predictions(n=300, classes=4, skill=0.7)
    probabilities = softmax(predictions.logits.astype(float), axis=1)
    edges, n = np.linspace(0, 1, 16), len(predictions)
    errors, parts = [], dict.fromkeys(("reliability", "resolution", "uncertainty"), 0.0)
    for c in range(4):
        p, y = probabilities[:, c], (predictions.labels == c).astype(float)
        error = 0.0
        for low, high in pairwise(edges):
            inside = (p > low) & (p <= high)
            if inside.any():
                error += abs(p[inside].sum() - y[inside].sum())
                parts["reliability"] += inside.sum() / n * (p[inside].mean() - y[inside].mean()) ** 2
                parts["resolution"] += inside.sum() / n * (y[inside].mean() - y.mean()) ** 2
        parts["uncertainty"] += y.mean() * (1 - y.mean())
        errors.append(error / n)
    found = softmax_confidences(predictions)
    classwise = calibration.measure(found, "classwise_ece_15")
    assert classwise.value == pytest.approx(np.mean(errors), abs=1e-6)
    assert classwise.details["worst_class"] == pytest.approx(max(errors), abs=1e-6)
    brier = calibration.measure(found, "brier")
    for name, expected in parts.items():
        assert brier.details[name] == pytest.approx(expected, abs=1e-6)
    whole = {name: brier.details[name] for name in ("reliability", "resolution", "uncertainty", "within_bins")}
    assert brier.value == pytest.approx(
        whole["reliability"] - whole["resolution"] + whole["uncertainty"] + whole["within_bins"], abs=1e-9
    )


def test_confidences_do_not_change_if_all_logits_are_shifted(random_predictions):
    predictions = random_predictions(n=100)
    moved = random_predictions(n=100)
    moved.logits[:] += 37.5
    assert value(softmax_confidences(predictions), "nll") == pytest.approx(
        value(softmax_confidences(moved), "nll"), abs=1e-5
    )


UPPER = {"nll": np.inf, "brier": 2.0}


@given(logits((30, 50), (2, 5), limit=9), st.integers(0, 99), st.integers(1, 60))
def test_every_metric_is_in_bounds_and_independent_of_batches_and_order(logits, seed, rows_at_a_time):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, logits.shape[1], len(logits))
    whole = softmax_confidences(build(labels, logits=logits))
    order = rng.permutation(len(logits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_clip_robust.scoring.confidence.ROWS", rows_at_a_time)
        shuffled = softmax_confidences(build(labels[order], logits=logits[order]))
    for metric in calibration.METRICS:
        one = calibration.measure(whole, metric)
        assert 0 <= one.interval.low <= one.value <= one.interval.high <= UPPER.get(metric, 1.0), metric
        assert value(shuffled, metric) == pytest.approx(one.value, abs=1e-6), metric


@given(logits((30, 50), (2, 5), limit=9), st.integers(0, 99), st.integers(1, 60))
def test_a_temperature_is_independent_of_batches_and_order(logits, seed, rows_at_a_time):
    rng = np.random.default_rng(seed)
    labels, order = rng.integers(0, logits.shape[1], len(logits)), rng.permutation(len(logits))
    expected = fit_temperature(build(labels, logits=logits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_clip_robust.scoring.confidence.ROWS", rows_at_a_time)
        found = fit_temperature(build(labels[order], logits=logits[order]))
    assert COLDEST <= expected <= HOTTEST
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_temperature_is_the_minimum_on_a_fine_grid(random_predictions):
    predictions = random_predictions(n=400, skill=1.0)
    predictions.logits[:] *= 3
    found = fit_temperature(predictions)
    grid = np.geomspace(COLDEST, HOTTEST, 4001)
    losses = [value(softmax_confidences(predictions, temperature=t), "nll") for t in grid[1500:3500:10]]
    assert found == pytest.approx(grid[1500:3500:10][int(np.argmin(losses))], rel=0.02)
    assert 1.5 < found < 10
    scaled = softmax_confidences(predictions, temperature=found)
    assert value(scaled, "nll") < value(softmax_confidences(predictions), "nll")
    assert calibration.measure(scaled, "nll").metric == "calibration.nll_scaled"
    assert calibration.measure(scaled, "nll").details["temperature"] == found


def test_the_temperature_compensates_a_scale(random_predictions):
    predictions, stretched = random_predictions(n=400, skill=1.0), random_predictions(n=400, skill=1.0)
    stretched.logits[:] *= 4
    assert fit_temperature(stretched) == pytest.approx(4 * fit_temperature(predictions), rel=1e-4)


@pytest.mark.parametrize(("labels", "expected"), [([0, 0], COLDEST), ([1, 1], HOTTEST)])
def test_a_temperature_outside_of_the_range_is_clipped(predictions, labels, expected):
    assert fit_temperature(predictions([[1.0, 0.0], [2.0, 0.0]], labels)) == expected


@given(st.integers(1, 60), st.integers(0, 3), st.randoms(use_true_random=False))
def test_halves_are_stratified_and_do_not_depend_on_the_order_of_samples(n, seed, random):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    predictions = build(labels, [f"{i}.png" for i in range(n)])
    fit = halves(predictions, seed=seed)
    assert abs(2 * fit.sum() - n) <= 1
    assert all(abs(2 * fit[labels == c].sum() - (labels == c).sum()) <= 1 for c in range(3))
    order = random.sample(range(n), n)
    moved = halves(build(labels[order], [f"{i}.png" for i in order]), seed=seed)
    assert moved.tolist() == fit[order].tolist()


def build(labels, samples=None, logits=None):
    logits = np.zeros((len(labels), 3), np.float32) if logits is None else logits
    names = tuple(f"c{i}" for i in range(logits.shape[1]))
    return Predictions(
        dataset="set",
        logits=logits,
        labels=np.asarray(labels, np.int64),
        class_names=names,
        class_ids=names,
        samples=samples or [f"{i}.png" for i in range(len(labels))],
    )


def test_another_seed_gives_other_halves(random_predictions):
    predictions = random_predictions(n=100)
    assert (halves(predictions, seed=0) != halves(predictions, seed=1)).any()


def test_sigmoid_confidences_use_the_models_scale_and_bias(predictions):
    cosines, scale, bias = np.array([[0.2, 0.05], [0.11, 0.09]], np.float32), 100.0, -12.0
    found = predictions(scale * cosines + bias, [0, 1], scale=scale, bias=bias)
    pairs = sigmoid_confidences(found)
    assert pairs.confidence == pytest.approx(1 / (1 + np.exp(-(scale * cosines.max(axis=1) + bias))), abs=1e-5)
    measured = calibration.measure(pairs, "ece_15_equal_width")
    assert measured.metric == "calibration.ece_15_equal_width_sigmoid"
    softmaxed = softmax_confidences(found)
    assert softmaxed.confidence == pytest.approx(softmax(scale * cosines, axis=1).max(axis=1), abs=1e-5)
    with pytest.raises(MeasurementError, match="nll needs the probabilities of all classes"):
        calibration.measure(pairs, "nll")


@pytest.mark.parametrize(
    ("confidence", "correct", "words"),
    [
        ([0.9] * 10, [True] * 8 + [False] * 2, "overconfident: 90.0 % sure on average, 80.0 % right"),
        ([0.6] * 10, [True] * 8 + [False] * 2, "underconfident: 60.0 % sure on average, 80.0 % right"),
        ([0.8] * 10, [True] * 8 + [False] * 2, "neither over- nor underconfident on average: 80.0 % sure"),
    ],
)
def test_the_remark_names_over_and_underconfidence(confidence, correct, words):
    measured = calibration.measure(reliability(confidence, correct), "ece_15_equal_width")
    assert measured.remark.startswith(words)
    assert measured.plot["n"].tolist() == [10]


def test_the_reliability_diagram_counts_every_sample_once():
    rng = np.random.default_rng(0)
    found = reliability(rng.random(200), rng.random(200) < 0.5)
    plot = calibration.measure(found, "ece_15_equal_width").plot
    assert plot["n"].sum() == 200
    assert (np.abs(plot["accuracy"] - plot["confidence"]) * plot["n"]).sum() / 200 == pytest.approx(
        value(found, "ece_15_equal_width")
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"confidence": [0.5, np.nan], "correct": [1, 0]}, r"1 of 2 confidences are not in 0\.\.1, first nan at 1"),
        ({"confidence": [1.5], "correct": [1]}, "first 1.5 at 0"),
        ({"confidence": [], "correct": []}, "no samples"),
        ({"confidence": [0.5], "correct": [1, 0]}, r"confidences \(1,\) and answers \(2,\)"),
        ({"confidence": [1.0], "correct": [1], "n_classes": 1}, "among 1 classes every answer is certain"),
    ],
)
def test_invalid_confidences_are_an_error(fields, message):
    with pytest.raises(MeasurementError, match=message):
        reliability(**fields)


def test_calibration_can_be_measured_if_all_samples_are_of_one_class(random_predictions):
    predictions = random_predictions(n=60, classes=3)
    predictions.labels[:] = 1
    found = {metric: calibration.measure(softmax_confidences(predictions), metric) for metric in calibration.METRICS}
    # If the true class never changes, uncertainty and resolution are zero.
    assert found["brier"].details["uncertainty"] == 0
    assert found["brier"].details["resolution"] == 0
    assert found["brier"].value == pytest.approx(
        found["brier"].details["reliability"] + found["brier"].details["within_bins"]
    )
    assert halves(predictions).sum() == 30


def test_predictions_with_a_single_class_are_an_error(predictions):
    with pytest.raises(MeasurementError, match="among 1 classes every answer is certain; give at least 2"):
        softmax_confidences(predictions([[1.0], [2.0]], [0, 0]))


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[0.5, 0.5], [0.7, 0.7]], r"of sample 1 are 0\.7 or more and add up to 1\.4"),
        ([[5.0, -4.0]], r"are -4 or more and add up to 1.*\(are they logits\?\)"),
        ([[np.nan, 0.5]], "of sample 0 are nan"),
    ],
)
def test_rows_that_are_not_distributions_are_an_error(probabilities, message):
    with pytest.raises(MeasurementError, match=message):
        probability_confidences(np.array(probabilities), np.zeros(len(probabilities), np.int64))


def test_half_precision_probabilities_are_accepted():
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(size=(50, 20)), axis=1).astype(np.float16)
    assert 0 < value(probability_confidences(probabilities, rng.integers(0, 20, 50)), "ece_15_equal_width") < 1


def test_fewer_samples_than_bins_get_one_bin_each_or_are_an_error():
    found = reliability([0.2, 0.9, 0.6], [0, 1, 1])
    assert value(found, "ece_15_equal_mass") == pytest.approx((0.2 + 0.1 + 0.4) / 3)
    with pytest.raises(MeasurementError, match="3 samples in 15 bins; a debiased error needs two per bin, at least 30"):
        calibration.measure(found, "rms_ce_15_debiased")


def test_the_error_for_an_unknown_metric_suggests_a_near_name():
    with pytest.raises(MeasurementError, match=r"no calibration metric 'ece_15_equal_with' \(did you mean 'ece_15_eq"):
        calibration.measure(reliability([0.5], [1]), "ece_15_equal_with")


def test_intervals_agree_with_resampling_single_samples(monkeypatch):
    rng = np.random.default_rng(2)
    confidence = rng.beta(5, 2, 800)
    correct = rng.random(800) < confidence**1.5
    found = reliability(confidence, correct)
    for metric in ("ece_15_equal_width", "mce_15", "aurc"):
        values = []
        for _ in range(300):
            rows = rng.integers(0, 800, 800)
            values.append(value(reliability(confidence[rows], correct[rows]), metric))
        low, high = np.quantile(values, [0.025, 0.975])
        with monkeypatch.context() as patch:
            patch.setattr(calibration, "interval_of", interval_of)
            interval = calibration.measure(found, metric).interval
        assert interval.high - interval.low == pytest.approx(high - low, rel=0.35)


def test_the_interval_of_the_largest_gap_reaches_below_the_gap():
    """A bin without a correct answer has a gap that other samples can make smaller."""
    rng = np.random.default_rng(0)
    sure = np.concatenate([rng.uniform(0.07, 0.13, 11), rng.uniform(0.4, 1, 400)])
    correct = np.concatenate([np.zeros(11, bool), rng.random(400) < sure[11:]])
    measured = calibration.maximum_error(reliability(sure, correct))

    resampled = [
        calibration.maximum_error(reliability(sure[rows], correct[rows])).value
        for rows in rng.integers(0, len(sure), (300, len(sure)))
    ]

    assert not correct[bin_of(sure) == 1].any()
    assert measured.interval.low < measured.value - 0.005
    width = np.quantile(resampled, 0.975) - np.quantile(resampled, 0.025)
    assert measured.interval.high - measured.interval.low == pytest.approx(width, rel=0.35)
