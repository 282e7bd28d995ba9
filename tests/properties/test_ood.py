"""Tests of OOD detection against scikit-learn, SciPy and naive implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.covariance import LedoitWolf
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from strategies import FEW_SCORES, logits

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import ood
from pytest_clip_robust.properties.ood import class_mean, group_mean, measure
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.ood_scores import Scores, shared_classes
from pytest_clip_robust.stats import roc


def scores(values, name="ood", score="msp", **fields):
    return Scores(dataset=name, score=score, values=np.asarray(values, float), **fields)


@given(logits((1, 12), (2, 6), limit=30), st.floats(-5, 5))
def test_scores_of_logits_equal_scipys(logits, bias):
    exact = logits.astype(float)
    near = pytest.approx
    assert ood_scores.maximum_softmax_probability(logits) == near(log_softmax(exact, axis=1).max(axis=1), abs=1e-5)
    assert ood_scores.energy(logits) == near(logsumexp(exact, axis=1), abs=1e-4)
    assert ood_scores.maximum_logit(logits) == near(exact.max(axis=1))
    assert ood_scores.entropy(logits) == near(-scipy_entropy(softmax(exact, axis=1), axis=1), abs=1e-4)
    cosines = exact / 30
    shifted = (30 * cosines + bias).astype(np.float32)
    found = ood_scores.maximum_concept_matching(shifted, scale=30)
    assert found == near(log_softmax(cosines, axis=1).max(axis=1), abs=1e-5)


@given(logits((1, 12), (2, 6), limit=30), st.floats(1, 100))
def test_mcm_at_the_models_temperature_equals_msp(logits, scale):
    own = ood_scores.maximum_concept_matching(logits, scale=scale, temperature=1 / scale)
    assert own == pytest.approx(ood_scores.maximum_softmax_probability(logits), abs=1e-5)


@given(logits((1, 12), (2, 6), limit=30), st.data())
def test_scores_do_not_depend_on_class_order_or_batches(logits, data):
    columns = data.draw(st.permutations(range(logits.shape[1])))
    for name, score in ood_scores.OF_LOGITS.items():
        found = score(logits, 30.0)
        assert score(logits[:, columns], 30.0) == pytest.approx(found, abs=1e-5), name
        one_by_one = np.concatenate([score(logits[i : i + 1], 30.0) for i in range(len(logits))])
        np.testing.assert_array_equal(one_by_one, found)


def test_scores_of_confident_answers_do_not_saturate():
    logits = np.array([[40.0, 0.0, 0.0], [60.0, 0.0, 0.0], [80.0, 0.0, 0.0]], np.float32)
    found = ood_scores.maximum_softmax_probability(logits)
    assert found[0] < found[1] < found[2] < 0


def test_nearest_neighbours_equal_scikit_learns():
    rng = np.random.default_rng(0)
    features, bank = rng.normal(size=(40, 8)), rng.normal(size=(60, 8))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (features, bank)]
    theirs, _ = NearestNeighbors(n_neighbors=10).fit(unit[1]).kneighbors(unit[0])
    assert ood_scores.nearest_neighbours(features, bank) == pytest.approx(-theirs[:, 9], abs=1e-5)
    assert ood_scores.nearest_neighbours(3 * features, bank) == pytest.approx(-theirs[:, 9], abs=1e-5)
    with pytest.raises(MeasurementError, match="the 10-th nearest of 4 ID features does not exist"):
        ood_scores.nearest_neighbours(features, bank[:4])


def test_mahalanobis_equals_scikit_learns():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    bank = rng.normal(size=(90, 6)) @ rng.normal(size=(6, 6)) + 4 * np.eye(6)[labels]
    features = rng.normal(size=(25, 6))
    means = np.stack([bank[labels == c].mean(axis=0) for c in range(3)])
    fitted = LedoitWolf(assume_centered=True).fit(bank - means[labels])
    slow = [-min((row - mean) @ fitted.precision_ @ (row - mean) for mean in means) for row in features]
    assert ood_scores.mahalanobis(features, bank, labels) == pytest.approx(np.array(slow))
    with pytest.raises(MeasurementError, match="3 ID samples of 3 classes have no spread"):
        ood_scores.mahalanobis(features, bank[:3], np.arange(3))
    with pytest.raises(MeasurementError, match="features of 90 ID samples differ between classes only"):
        ood_scores.mahalanobis(features, means[labels], labels)


@settings(max_examples=20)
@given(st.integers(12, 20), st.integers(0, 999))
def test_scores_of_features_do_not_depend_on_batches_or_order(n, seed):
    rng = np.random.default_rng(seed)
    bank, labels, order = rng.normal(2, 1, (n, 3)).astype(np.float32), np.arange(n) % 2, rng.permutation(n)
    for score in (lambda rows, known, _: ood_scores.nearest_neighbours(rows, known, k=4), ood_scores.mahalanobis):
        whole = score(bank, bank, labels)
        one_by_one = np.concatenate([score(bank[i : i + 1], bank[order], labels[order]) for i in range(n)])
        # A small distance is the square root of a rounding error.
        assert one_by_one == pytest.approx(whole, abs=2e-3, rel=1e-4)


def test_negatives_are_the_labels_least_like_any_class():
    classes = np.eye(4)[:2]
    corpus = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 1], [0, -1, 0, 0]])
    assert ood_scores.choose_negatives(classes, corpus, share=0.6).tolist() == [1, 3, 4]
    assert ood_scores.choose_negatives(classes, corpus[:2]).tolist() == [1]
    with pytest.raises(MeasurementError, match="the corpus of negative labels is empty"):
        ood_scores.choose_negatives(classes, corpus[:0])


@given(logits((1, 12), (2, 6), limit=30))
def test_neglabel_is_the_softmax_mass_of_the_id_classes(logits):
    both = np.concatenate([logits, -logits], axis=1).astype(float)
    expected = np.log(softmax(both, axis=1)[:, : logits.shape[1]].sum(axis=1))
    assert ood_scores.negative_labels(logits, -logits) == pytest.approx(expected, abs=1e-4, rel=1e-4)


def test_every_metric_equals_scikit_learns():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 150), rng.normal(0, 1, 80)
    truth, values = np.r_[np.ones(150), np.zeros(80)], np.r_[inside, outside]
    found = {metric: measure(scores(inside, "id"), scores(outside), metric) for metric in ood.METRICS}
    assert found["auroc"].value == pytest.approx(roc_auc_score(truth, values))
    assert found["aupr_in"].value == pytest.approx(average_precision_score(truth, values))
    assert found["aupr_out"].value == pytest.approx(average_precision_score(1 - truth, -values))
    assert found["fpr95_id"].value == pytest.approx((outside >= np.sort(inside)[7]).mean())
    assert found["fpr95_ood"].value == pytest.approx((inside <= np.sort(outside)[75]).mean())
    for metric, one in found.items():
        assert one.metric == f"ood.{metric}_msp"
        assert (one.n, one.dataset) == (230, "ood")
        assert one.interval.low <= one.value <= one.interval.high
    assert {one.direction for name, one in found.items() if name.startswith("fpr")} == {"lower"}


def test_the_two_conventions_of_fpr95_differ_on_the_same_scores():
    inside = np.r_[np.zeros(10), np.full(90, 3.0)]
    outside = np.r_[np.ones(50), np.full(50, -1.0)]
    both = [measure(scores(inside), scores(outside), f"fpr95_{positive}").value for positive in ("id", "ood")]
    assert both == [1 / 2, 10 / 100]


@given(FEW_SCORES, FEW_SCORES)
def test_bounds_and_symmetry(inside, outside):
    for metric in ("auroc", "fpr95_id"):
        one = measure(scores(inside), scores(outside), metric)
        assert 0 <= one.interval.low <= one.value <= one.interval.high <= 1
    mirrored = measure(scores(-np.array(outside)), scores(-np.array(inside)), "auroc").value
    assert mirrored == pytest.approx(measure(scores(inside), scores(outside), "auroc").value)
    swapped = measure(scores(-np.array(outside)), scores(-np.array(inside)), "fpr95_id").value
    assert swapped == pytest.approx(measure(scores(inside), scores(outside), "fpr95_ood").value)


@given(FEW_SCORES, FEW_SCORES, st.integers(2, 4), st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_copies_order_or_monotone_maps(inside, outside, copies, random):
    def every(of_inside, of_outside):
        counted = roc.tally(np.asarray(of_inside, float), np.asarray(of_outside, float))
        return [float(statistic(counted.positives, counted.negatives)) for statistic in ood.STATISTICS.values()]

    expected = every(inside, outside)
    assert every(random.sample(inside, len(inside)), random.sample(outside, len(outside))) == expected
    assert every(np.exp(inside), np.exp(outside)) == expected
    assert every(inside * copies, outside * copies) == pytest.approx(expected)


@given(FEW_SCORES, FEW_SCORES)
def test_the_roc_curve_runs_from_corner_to_corner_and_its_area_is_the_auroc(inside, outside):
    one = measure(scores(inside), scores(outside), "auroc")
    false, true = one.plot["false_positive_rate"], one.plot["true_positive_rate"]
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert trapezoid(true, false) == pytest.approx(one.value, abs=0.02)


def test_a_long_curve_is_thinned():
    rng = np.random.default_rng(0)
    one = measure(scores(rng.normal(1, 1, 4000)), scores(rng.normal(0, 1, 3000)), "auroc")
    assert len(one.plot["true_positive_rate"]) <= ood.POINTS
    assert trapezoid(one.plot["true_positive_rate"], one.plot["false_positive_rate"]) == pytest.approx(
        one.value, abs=0.002
    )


def test_the_mean_over_classes_is_unweighted():
    inside = np.linspace(0, 1, 50)
    outside = scores([-1.0] * 90 + [2.0] * 10, classes=np.array([0] * 90 + [1] * 10))
    found = class_mean(scores(inside), outside, "auroc")
    assert found.value == 0.5
    assert found.metric == "ood.class_mean_auroc_msp"
    assert found.details["worst_class"] == 0
    assert measure(scores(inside), outside, "auroc").value == 0.9
    with pytest.raises(MeasurementError, match="has no classes to take a mean over"):
        class_mean(scores(inside), scores([1.0]), "auroc")


def test_a_mean_over_one_class_equals_the_plain_metric():
    rng = np.random.default_rng(3)
    inside, outside = rng.normal(1, 1, 60), rng.normal(0, 1, 40)
    for metric in ood.METRICS:
        one = class_mean(scores(inside), scores(outside, classes=np.zeros(40, np.int64)), metric)
        assert one.value == pytest.approx(measure(scores(inside), scores(outside), metric).value)


def test_the_mean_over_sets_of_a_group():
    inside = scores(np.linspace(0, 1, 50))
    near, far = (
        measure(inside, scores(values, name), "auroc") for values, name in (([0.5] * 9, "a"), ([-1.0] * 3, "b"))
    )
    found = group_mean([near, far], "all")
    assert found.value == pytest.approx((near.value + far.value) / 2)
    assert (found.metric, found.dataset, found.n) == ("ood.mean_auroc_msp", "all", near.n + far.n)
    assert {name: found.details[name] for name in ("a", "b")} == {"a": near.value, "b": far.value}
    with pytest.raises(MeasurementError, match="expected one metric"):
        group_mean([near, measure(inside, scores([0.0]), "fpr95_id")], "all")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "msp on 'ood': no scores, so there is nothing to rank"),
        ([1.0, np.nan], "msp on 'ood': 1 of 2 scores are NaN, first 'b.png'; a NaN has no rank"),
    ],
)
def test_invalid_scores_are_an_error(values, message):
    with pytest.raises(MeasurementError, match=message):
        scores(values, samples=["a.png", "b.png"][: len(values)])


def test_comparing_different_things_is_an_error():
    with pytest.raises(MeasurementError, match="they cannot be compared"):
        measure(scores([1.0]), scores([1.0], score="energy"), "auroc")
    with pytest.raises(MeasurementError, match=r"no OOD metric 'aurc' \(did you mean 'auroc'"):
        measure(scores([1.0]), scores([1.0]), "aurc")


def test_equal_scores_of_all_samples_give_chance_level():
    found = {metric: measure(scores([1.0] * 30), scores([1.0] * 10), metric).value for metric in ood.METRICS}
    assert found == {"auroc": 0.5, "fpr95_id": 1, "fpr95_ood": 1, "aupr_in": 0.75, "aupr_out": 0.25}


def test_shared_classes_are_found_in_other_spellings():
    assert shared_classes(["hot dog", "n01"], ["Hot_Dog", "cat", "N01"]) == ["Hot_Dog", "N01"]


def test_histograms_have_all_scores_of_both_sets_in_equal_bins():
    inside, outside = scores(np.linspace(0.2, 1.0, 50)), scores(np.linspace(0.0, 0.5, 20))
    plot = ood.measure(inside, outside, "auroc").plot
    assert plot["inside"].sum() == pytest.approx(1)
    assert plot["outside"].sum() == pytest.approx(1)
    assert (plot["low"][0], plot["high"][-1]) == (0, 1)
    assert plot["high"] - plot["low"] == pytest.approx(np.full(ood.BARS, 1 / ood.BARS))
    assert plot["outside"][plot["low"] > 0.5].sum() == 0
    counted = [((inside.values >= low) & (inside.values < low + 1 / ood.BARS)).sum() for low in plot["low"][:-1]]
    assert plot["inside"][:-1] * 50 == pytest.approx(counted)


def test_equal_scores_have_a_histogram():
    plot = ood.measure(scores(np.ones(5)), scores(np.ones(4)), "auroc").plot
    assert plot["inside"].max() == plot["outside"].max() == 1
