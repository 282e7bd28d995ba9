"""Tests of the evidence of every property: the value follows from it, and two models can be compared with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pytest_clip_robust.core.evidence import Evidence, Stratum, coarse_confidence, mean_evidence, sums_evidence
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import accuracy, calibration, ood, prompts, shape_bias, shift, visual_factors
from pytest_clip_robust.scoring import cues, ood_scores
from pytest_clip_robust.scoring.confidence import softmax_confidences
from pytest_clip_robust.scoring.decisions import Decisions
from pytest_clip_robust.scoring.prompted import ByPrompts
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from

N, CLASSES = 300, 8


def assert_drawn_alike(measured):
    """The plot that follows from stored columns, which are float32, is that of the measurement."""
    drawn = measured.evidence.drawn()
    assert list(drawn) == list(measured.plot)
    for name, column in measured.plot.items():
        assert drawn[name] == pytest.approx(column, abs=1e-6), name


class Model:
    """Answers of a synthetic model to synthetic sets; `skill` is added to the logit of the true class."""

    def __init__(self, *, skill, seed, make):
        data, noise = np.random.default_rng(0), np.random.default_rng(seed)
        labels = data.integers(0, CLASSES, N)
        factors = {name: data.random(N) < 0.3 for name in ("pose", "smaller")}
        logits = noise.normal(size=(N, CLASSES))
        logits[np.arange(N), labels] += skill
        self.photos = make(logits, labels, annotations=factors, dataset="photos")
        shifted = noise.normal(size=(N, CLASSES))
        shifted[np.arange(N), labels] += skill / 2
        self.night = make(shifted, labels, dataset="night")
        textures = (labels + 1) % CLASSES
        cued = noise.normal(size=(N, CLASSES))
        cued[np.arange(N), labels] += skill
        cued[np.arange(N), textures] += 1
        self.cues = cues.answers_of(make(cued, labels, textures=textures, dataset="cues"))
        inside, outside = noise.normal(skill, 1, N), noise.normal(0, 1, N)
        classes = data.integers(0, 5, N)
        self.inside = ood_scores.Scores(dataset="photos", score="max_logit", values=inside)
        self.outside = ood_scores.Scores(dataset="other", score="max_logit", values=outside, classes=classes)
        self.prompted = {name: noise.random(N) < 0.5 + skill / 10 for name in ("photo", "many")}


@pytest.fixture
def two_models(predictions):
    return [Model(skill=skill, seed=seed, make=predictions) for skill, seed in ((2.0, 1), (1.5, 2))]


def by_prompts(model, kind):
    if kind == "accuracy":
        labels = np.zeros(N, np.int64)
        decided = {k: Decisions(dataset="photos", correct=one, labels=labels) for k, one in model.prompted.items()}
        return prompts.top1(ByPrompts(dataset="photos", answers=decided, templates=(1, 7)))
    if kind == "ece":
        found = {"photo": softmax_confidences(model.photos), "many": softmax_confidences(model.photos, temperature=2.0)}
        return prompts.ece(ByPrompts(dataset="photos", answers=found, templates=(1, 7)))
    noise = np.random.default_rng(3).normal(size=N)
    moved = [dataclasses.replace(one, values=one.values + noise) for one in (model.inside, model.outside)]
    found = {"photo": (model.inside, model.outside), "many": tuple(moved)}
    return prompts.auroc(ByPrompts(dataset="photos", answers=found, templates=(1, 7)))


PANEL = shift.Panel(("a", "b", "c"), np.array([0.5, 0.6, 0.8]), np.array([0.3, 0.4, 0.7]))
OBSERVER = cues.CueAnswers(
    dataset="person",
    answers=np.arange(N) % 3,
    shapes=np.arange(N) % 5,
    textures=(np.arange(N) + 1) % 5,
    class_names=tuple(f"c{i}" for i in range(CLASSES)),
    samples=[f"{i}.jpg" for i in range(N)],
)

SUMS = {
    "relative robustness": (lambda m: shift.relative_robustness(m.photos, m.night), 0),
    "effective robustness": (lambda m: shift.effective_robustness(m.photos, m.night, PANEL), 0),
    "error ratio": (lambda m: visual_factors.error_ratio(m.photos, "pose"), 0),
    "worst factor": (lambda m: visual_factors.worst_factor(m.photos), 0),
    "shape bias": (lambda m: shape_bias.shape_bias(m.cues), 0),
    "class average": (lambda m: shape_bias.class_average(m.cues), 0),
    "error consistency": (lambda m: shape_bias.error_consistency(m.cues, [OBSERVER, OBSERVER]), 0),
    **{
        f"ood {name}": ((lambda m, name=name: ood.measure(m.inside, m.outside, name)), 0.01)
        for name in ood.METRICS
        if name != "auroc"
    },
    "ood class mean": (lambda m: ood.class_mean(m.inside, m.outside, "auroc"), 0.01),
    "ood class mean fpr95": (lambda m: ood.class_mean(m.inside, m.outside, "fpr95_id"), 0.01),
    "ood group": (lambda m: ood.group_mean([ood.measure(m.inside, m.outside, "auroc")] * 2, "near"), 0.01),
    "ood group fpr95": (lambda m: ood.group_mean([ood.measure(m.inside, m.outside, "fpr95_id")] * 2, "near"), 0.01),
    **{
        name: (
            (lambda m, name=name: calibration.measure(softmax_confidences(m.photos), name)),
            0.003 if name == "aurc" else 1e-6,
        )
        for name in calibration.METRICS
        if name not in {"nll", "brier", "classwise_ece_15"}
    },
    **{
        f"{of.__name__} of {kind}": ((lambda m, of=of, kind=kind: of(by_prompts(m, kind))), 0.01)
        for of in (prompts.spread, prompts.fewer_templates)
        for kind in ("accuracy", "ece", "auroc")
    },
}


@pytest.mark.parametrize("name", SUMS)
def test_a_value_follows_from_its_evidence_up_to_binning(two_models, name):
    measure, tolerance = SUMS[name]
    for model in two_models:
        found = measure(model)
        assert value_from(found.evidence) == pytest.approx(found.value, abs=max(tolerance, 1e-7))


MEANS = {
    "top1": lambda m: accuracy.top_k(m.photos),
    "top5": lambda m: accuracy.top_k(m.photos, k=5),
    "mean per class": lambda m: accuracy.mean_per_class(m.photos),
    "shift": lambda m: shift.accuracy_under_shift(m.night),
    "factor": lambda m: visual_factors.accuracy(m.photos, "pose"),
    "cue coverage": lambda m: shape_bias.cue_coverage(m.cues),
    "shape accuracy": lambda m: shape_bias.shape_accuracy(m.cues),
    "nll": lambda m: calibration.measure(softmax_confidences(m.photos), "nll"),
    "brier": lambda m: calibration.measure(softmax_confidences(m.photos), "brier"),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_mean_is_the_mean_of_its_evidence(two_models, name):
    for model in two_models:
        found = MEANS[name](model)
        assert found.evidence.test == "mean"
        assert found.evidence.strata[0].columns["outcome"].mean() == pytest.approx(found.value, abs=1e-6)


@pytest.mark.parametrize("name", [*SUMS, *MEANS])
def test_two_models_are_compared_on_the_same_samples(two_models, name):
    measure = SUMS[name][0] if name in SUMS else MEANS[name]
    before, after = (measure(model) for model in two_models)
    change = after.value - before.value
    found = compare(before.evidence, after.evidence, direction=after.direction, difference=change)
    assert found.difference == pytest.approx(change, abs=1e-6)
    assert found.interval.low <= change <= found.interval.high
    assert 0 < min(found.p_worse, found.p_better) < 1
    assert found.error > 0


def test_the_evidence_of_an_auroc_contains_its_scores(two_models):
    before, after = (ood.measure(model.inside, model.outside, "auroc") for model in two_models)
    found = compare(before.evidence, after.evidence, direction="higher")
    assert found.method == "DeLong, paired"
    assert found.difference == pytest.approx(after.value - before.value, abs=1e-6)


def test_metrics_without_evidence(two_models):
    model = two_models[0]
    assert calibration.measure(softmax_confidences(model.photos), "classwise_ece_15").evidence is None
    assert ood.class_mean(model.inside, model.outside, "aupr_out").evidence is None


def test_the_evidence_of_decisions_contains_answers_and_confidences(two_models):
    evidence = accuracy.top_k(two_models[0].photos).evidence
    columns = evidence.strata[0].columns
    assert sorted(columns) == ["answer", "confidence", "outcome"]
    assert ((columns["answer"] == evidence.sample_info.labels) == columns["outcome"]).all()


def test_a_digest_depends_only_on_the_numbers_and_the_data_set():
    outcomes = np.array([True, False, True])
    assert mean_evidence("x", outcomes).digest == mean_evidence("x", outcomes.copy()).digest
    others = [mean_evidence("y", outcomes), mean_evidence("x", ~outcomes), mean_evidence("x", outcomes * 0.5)]
    assert len({one.digest for one in [mean_evidence("x", outcomes), *others]}) == 4


@pytest.mark.parametrize(
    "columns", [{"a": np.zeros(2, np.bool_), "b": np.zeros(3, np.bool_)}, {"a": np.zeros(0, np.bool_)}]
)
def test_columns_of_different_sizes_are_an_error(columns):
    with pytest.raises(MeasurementError, match="expected one size, not 0"):
        Stratum(name="x", columns=columns)


def test_a_column_type_that_baselines_cannot_store_is_an_error():
    with pytest.raises(MeasurementError, match=r"'x': column 'a' is of type int16; expected one of bool, uint8"):
        Stratum(name="x", columns={"a": np.zeros(2, np.int16)})


def test_sums_need_a_statistic_and_others_must_not_have_one():
    stratum = Stratum(name="x", columns={"outcome": np.zeros(2, np.float32)})
    with pytest.raises(MeasurementError, match="terms and statistic are for 'sums' alone"):
        Evidence(test="sums", strata=(stratum,))
    assert sums_evidence([stratum], lambda _: [], lambda _: np.zeros(1)).shape() == {"x": 2}


def test_confidences_are_rounded_to_one_byte():
    assert coarse_confidence(np.array([0.0, 0.5, 1.0])).tolist() == [0, 128, 255]


def test_plots_follow_from_the_evidence(two_models):
    for model in two_models:
        confidences = softmax_confidences(model.photos)
        assert_drawn_alike(calibration.expected_error(confidences))
        assert_drawn_alike(calibration.area_under_risk_coverage(confidences))
        assert_drawn_alike(ood.measure(model.inside, model.outside, "auroc"))


def test_a_measurement_without_a_plot_draws_nothing(two_models):
    model = two_models[0]
    for measured in (
        ood.measure(model.inside, model.outside, "fpr95_id"),
        calibration.expected_error_equal_mass(softmax_confidences(model.photos)),
    ):
        assert measured.evidence.drawn() == measured.plot == {}
