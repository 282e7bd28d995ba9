from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import CORRUPTION_KINDS
from pytest_clip_robust.properties import alexnet, calibration, corruptions, ood
from pytest_clip_robust.properties.corruptions import corruption_error
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import Confidences
from pytest_clip_robust.scoring.decisions import CorruptedAnswers
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from


def answers_of(kind="fog_3d", *, n=60, severities=(1, 2, 3, 4, 5), seed=0, skill=0.9, loss=0.15, clean=True):
    """Return random answers among 10 classes whose accuracy falls by `loss` per severity."""
    rng = np.random.default_rng([seed, len(kind)])
    labels = np.random.default_rng(seed).integers(0, 10, n)

    def draw(share):
        return np.where(rng.random(n) < share, labels, rng.integers(0, 10, n))

    return CorruptedAnswers(
        dataset="photos",
        kind=kind,
        severities=severities,
        answers=np.stack([draw(max(skill - loss * s, 0)) for s in severities]),
        labels=labels,
        clean=np.where(np.arange(n) % 10 > 0, labels, 10) if clean else None,
        samples=[f"{i}.png" for i in range(n)],
    )


def published(shared, file):
    """Return accuracies by model and kind."""
    with (shared / "golden/robustbench" / file).open(newline="") as opened:
        kinds, _, *rows = list(csv.reader(opened))
    models = {}
    for name, *values in rows:
        models[name] = {}
        for kind, value in zip(kinds[1:], values, strict=True):
            models[name].setdefault(kind, []).append(float(value))
    return models


@pytest.mark.parametrize(
    ("model", "accuracy", "error"),
    [("Standard_R50", 47.12, 73.16), ("Tian2022Deeper_DeiT-B", 65.90, 47.97), ("Hendrycks2020AugMix", 53.48, 64.64)],
)
def test_published_numbers_are_reproduced(shared, model, accuracy, error):
    found = published(shared, "unaggregated_results_3d.csv")[model]
    assert 100 * np.mean(list(found.values())) == pytest.approx(accuracy, abs=0.005)
    assert 100 * corruption_error(found) == pytest.approx(error, abs=0.005)


@pytest.mark.parametrize(
    ("file", "table"),
    [("unaggregated_results_3d.csv", alexnet.IMAGENET_3DCC), ("unaggregated_results.csv", alexnet.IMAGENET_C)],
)
def test_the_denominators_equal_the_published_ones(shared, file, table):
    assert {kind: list(values) for kind, values in table.items()} == published(shared, file)["AlexNet"]


def test_every_kind_has_a_denominator():
    assert set(alexnet.IMAGENET_3DCC) == set(CORRUPTION_KINDS)


def test_alexnet_has_a_corruption_error_of_one():
    assert corruption_error(alexnet.ACCURACY) == pytest.approx(1)


@pytest.fixture
def several():
    return [answers_of(kind) for kind in ("fog_3d", "flash", "iso_noise")]


def test_means_equal_naive_loops(several):
    cells, ratios, flips, areas = [], [], [], []
    for one in several:
        right = [(answers == one.labels).mean() for answers in one.answers]
        cells += right
        ratios.append(sum(1 - r for r in right) / sum(1 - a for a in alexnet.ACCURACY[one.kind]))
        seen = [one.clean, *one.answers]
        flips += [(a != b).mean() for a, b in zip(seen[1:], seen[:-1], strict=True)]
        curve = [0.9, *right]
        areas.append(sum((a + b) / 2 for a, b in zip(curve[1:], curve[:-1], strict=True)) / 5)
    found = {name: measure(several) for name, measure in corruptions.PROPERTIES.items()}
    assert found["mean_top1"].value == pytest.approx(np.mean(cells))
    assert found["relative_robustness"].value == pytest.approx(np.mean(cells) / 0.9)
    assert found["mce_alexnet"].value == pytest.approx(np.mean(ratios))
    assert found["mce_alexnet"].details["flash"] == pytest.approx(ratios[1])
    assert found["flips"].value == pytest.approx(np.mean(flips))
    assert found["area"].value == pytest.approx(np.mean(areas))
    assert {one.key for one in found.values()} == {f"corruption.{name}[photos]" for name in corruptions.PROPERTIES}


def test_one_kind_is_a_subset(several):
    found = corruptions.mean_accuracy(several[:1])
    assert found.key == "corruption.mean_top1[photos/fog_3d]"
    assert list(found.details) == [f"severity_{s}" for s in range(1, 6)]


@pytest.mark.parametrize("name", ["mean_top1", "area", "flips", "mce_alexnet"])
def test_means_over_images_keep_one_outcome_per_image(several, name):
    found = corruptions.PROPERTIES[name](several)
    assert found.outcomes.mean() == pytest.approx(found.value, abs=1e-6)
    assert list(found.samples) == list(several[0].samples)
    assert found.n == 60


@pytest.mark.parametrize("name", ["relative_robustness", "half"])
def test_the_value_follows_from_the_evidence(several, name):
    found = corruptions.PROPERTIES[name](several)
    assert value_from(found.evidence) == pytest.approx(found.value)


def test_a_loss_on_the_same_images_is_detected(several):
    """A loss per severity that is three times as large is significant for every property."""
    worse = [answers_of(one.kind, loss=0.18) for one in several]
    better = [answers_of(one.kind, loss=0.06) for one in several]
    for name in ("mean_top1", "relative_robustness", "area", "half", "mce_alexnet"):
        before, after = (corruptions.PROPERTIES[name](answers) for answers in (better, worse))
        found = compare(before.evidence, after.evidence, direction=after.direction)
        assert found.difference == pytest.approx(after.value - before.value, abs=1e-5)
        assert found.p_worse < 0.001


def test_an_image_is_one_sample_for_any_number_of_corruptions(several):
    """Twelve copies of one kind have the same interval as the kind itself."""
    one = several[0]
    copies = [one] * 12
    for name in ("mean_top1", "relative_robustness", "half"):
        alone, together = (corruptions.PROPERTIES[name](answers) for answers in ([one], copies))
        assert together.interval.low == pytest.approx(alone.interval.low, abs=0.02)
        assert together.interval.high == pytest.approx(alone.interval.high, abs=0.02)


def at(*accuracies, severities=None, clean=1.0):
    """Return answers to 100 images with these accuracies."""
    labels = np.zeros(100, np.int64)
    wrong = [np.where(np.arange(100) < round(100 * a), 0, 1) for a in (clean, *accuracies)]
    return CorruptedAnswers(
        dataset="photos",
        kind="fog_3d",
        severities=severities or tuple(range(1, len(accuracies) + 1)),
        answers=np.stack(wrong[1:]),
        labels=labels,
        clean=wrong[0],
    )


@pytest.mark.parametrize(
    ("answers", "severity"),
    [
        (at(0.9, 0.7, 0.4), 2 + 2 / 3),
        (at(0.5, 0.1), 1),
        (at(0.0, 0.0), 0.5),
        (at(0.8, 0.3, severities=(3, 5)), 4.2),
        (at(0.4, 0.3, clean=0.6), 2),
        (at(0.45, 0.8, 0.2), 1 / 1.1),
        (at(0.9, 0.8), 2),
    ],
)
def test_halving_severity_is_interpolated(answers, severity):
    found = corruptions.half_severity([answers])
    assert found.value == pytest.approx(severity)
    assert found.interval.low <= found.value <= found.interval.high + 1e-9


def test_a_curve_that_never_halves_has_a_remark():
    assert corruptions.half_severity([at(0.9, 0.8)]).remark == "accuracy never halves up to severity 2"
    assert corruptions.half_severity([at(0.9, 0.5)]).remark == ""


@given(
    accuracies=st.lists(st.integers(0, 100), min_size=1, max_size=5),
    better=st.integers(0, 4),
    by=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_more_correct_answers_are_never_worse(accuracies, better, by):
    raised = list(accuracies)
    raised[better % len(raised)] = min(100, raised[better % len(raised)] + by)
    low, high = (at(*(a / 100 for a in one)) for one in (accuracies, raised))
    for name in ("mean_top1", "relative_robustness", "area", "half"):
        measure = corruptions.PROPERTIES[name]
        assert measure([high]).value >= measure([low]).value - 1e-9
    assert corruptions.mean_corruption_error([high]).value <= corruptions.mean_corruption_error([low]).value + 1e-9


def test_only_the_measured_severities_count():
    part = at(0.8, 0.3, severities=(3, 5))
    expected = (0.2 + 0.7) / ((1 - 0.1852) + (1 - 0.096))
    assert corruptions.mean_corruption_error([part]).value == pytest.approx(expected)
    assert corruptions.area([part]).value == pytest.approx((3 * 0.9 + 2 * 0.55) / 5)


def test_flips_count_changes_of_correct_and_wrong_answers():
    one = CorruptedAnswers(
        dataset="photos",
        kind="flash",
        severities=(1, 2),
        answers=np.array([[0, 1, 2, 3], [0, 2, 2, 1]]),
        labels=np.zeros(4, np.int64),
    )
    assert corruptions.flips([one]).value == 0.5
    assert corruptions.flips([one]).direction == "lower"


@pytest.mark.parametrize("name", corruptions.OF_CLEAN)
def test_the_error_without_clean_answers_says_what_to_do(name):
    with pytest.raises(MeasurementError, match="give a set with the same images the role 'id'"):
        corruptions.PROPERTIES[name]([answers_of(clean=False)])


def test_relative_robustness_without_correct_clean_answers_is_an_error():
    with pytest.raises(MeasurementError, match="no answer to a clean image is correct"):
        corruptions.area([at(0.5, clean=0.0)])


def test_flips_of_a_single_severity_are_an_error():
    with pytest.raises(MeasurementError, match="one severity has no neighbour"):
        corruptions.flips([answers_of(severities=(3,), clean=False)])


def test_an_unpublished_kind_has_no_corruption_error():
    with pytest.raises(MeasurementError, match="accuracy under 'rain' is not published"):
        corruptions.mean_corruption_error([answers_of("rain")])


def test_a_mean_over_kinds_with_different_images_is_an_error():
    with pytest.raises(MeasurementError, match="fog_3d and flash of 'photos' differ in images or severities"):
        corruptions.mean_accuracy([answers_of(), answers_of("flash", severities=(1, 3))])
    with pytest.raises(MeasurementError, match="no kind of corruption"):
        corruptions.mean_accuracy([])


@pytest.mark.parametrize("severities", [(), (2, 1, 3, 4, 5), (1, 1, 2, 3, 4)])
def test_invalid_severities_are_an_error(severities):
    with pytest.raises(MeasurementError, match="severities"):
        CorruptedAnswers(
            dataset="photos",
            kind="flash",
            severities=severities,
            answers=np.zeros((5, 3), np.int64),
            labels=np.zeros(3),
        )


def test_other_kinds_or_severities_give_another_measurement():
    several = [answers_of(kind) for kind in ("fog_3d", "flash", "iso_noise")]
    origins = {corruptions.mean_accuracy(part).provenance for part in (several, several[:2], several[1:])}
    assert len(origins) == 3
    assert all(isinstance(one, Provenance) for one in origins)


def test_accuracy_of_one_kind_and_severity(predictions):
    found = corruptions.accuracy(predictions([[1, 0], [1, 0], [0, 1]], [0, 1, 1]), "fog_3d", 4)
    assert found.key == "corruption.top1[set/fog_3d/4]"
    assert found.value == pytest.approx(2 / 3)


def test_calibration_under_corruption_equals_calibration_of_the_same_answers():
    rng = np.random.default_rng(0)
    sure = Confidences(dataset="photos", confidence=rng.random(80), correct=rng.random(80) < 0.5, n_classes=4)
    found = corruptions.calibration_error(sure, "flash", 2)
    assert found.key == "corruption.ece_15_equal_width[photos/flash/2]"
    assert found.value == calibration.expected_error(sure).value


def test_ood_detection_under_corruption_uses_the_clean_ood_sets():
    rng = np.random.default_rng(0)
    corrupted, *outside = (
        ood_scores.Scores(dataset=name, score="mcm", values=rng.normal(shift, 1, 50))
        for name, shift in (("photos", 1), ("near", 0.5), ("far", -1))
    )
    alone = corruptions.detection(corrupted, outside[:1], "flash", 2)
    assert alone.key == "corruption.auroc_mcm[photos/flash/2]"
    assert alone.value == ood.measure(corrupted, outside[0], "auroc").value
    both = corruptions.detection(corrupted, outside, "flash", 2)
    assert both.value == pytest.approx(np.mean([ood.measure(corrupted, one, "auroc").value for one in outside]))
