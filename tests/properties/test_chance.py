"""Chance levels: what models that guess get on average, through the same functions as any other model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.names import FACTORS
from pytest_clip_robust.properties import (
    accuracy,
    calibration,
    composition,
    corruptions,
    ood,
    retrieval,
    shape_bias,
    shift,
    visual_factors,
)
from pytest_clip_robust.scoring.confidence import softmax_confidences
from pytest_clip_robust.scoring.cues import NO_ANSWER, answers_of
from pytest_clip_robust.scoring.decisions import CorruptedAnswers, Decisions, decide
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.scoring.pairs import Contrasts, Matches
from pytest_clip_robust.scoring.rankings import WAYS, CaptionedImages, rank

SETS = 400
CLASSES = 7


@pytest.fixture(scope="module", autouse=True)
def _each_interval_once():
    """Keep the intervals of proportions: hundreds of models have the same few numbers of correct answers."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (accuracy, composition):
            patch.setattr(module, "wilson", cache(module.wilson))
        yield


def check_mean(measure, *, sets=SETS, within):
    """Check that the mean over `sets` guessing models is their `chance`, and that it is known to `within`."""
    found = [measure(np.random.default_rng([7, seed])) for seed in range(sets)]
    values = np.array([one.value for one in found])
    chances = {one.chance for one in found}
    assert len(chances) == 1, "the data are the same for all models, so their chance is"
    error = values.std(ddof=1) / sets**0.5
    assert error < within / 2
    assert abs(values.mean() - chances.pop()) < 4 * error
    return found


def predicted(logits, labels, **fields):
    classes = tuple(f"c{i}" for i in range(logits.shape[1]))
    return Predictions(
        dataset="set",
        logits=logits.astype(np.float32),
        labels=labels,
        class_names=classes,
        class_ids=classes,
        samples=[f"{i}.png" for i in range(len(labels))],
        **fields,
    )


def guesses(rng, **fields):
    """Return random logits for 60 images of classes of unequal size; one class has no image."""
    return predicted(rng.normal(size=(60, CLASSES)), np.minimum(np.arange(60) % 9, CLASSES - 2), **fields)


def factors():
    return {FACTORS[0]: np.arange(60) % 2 == 0, FACTORS[1]: np.arange(60) % 2 == 1}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (lambda rng: accuracy.top_k(guesses(rng)), 1 / CLASSES),
        (lambda rng: accuracy.top_k(guesses(rng), k=5), 5 / CLASSES),
        (lambda rng: accuracy.mean_per_class(guesses(rng)), 1 / CLASSES),
        (lambda rng: shift.accuracy_under_shift(guesses(rng)), 1 / CLASSES),
        (lambda rng: shift.accuracy_under_shift(guesses(rng).restricted_to(("c0", "c1", "c3"))), 1 / 3),
        (lambda rng: visual_factors.accuracy(guesses(rng, annotations=factors()), FACTORS[0]), 1 / CLASSES),
        (lambda rng: visual_factors.average(guesses(rng, annotations=factors())), 1 / CLASSES),
        (lambda rng: corruptions.accuracy(guesses(rng), "fog_3d", 3), 1 / CLASSES),
    ],
    ids=["top1", "top5", "mean_per_class", "shift", "shift_of_fewer_classes", "factor", "average", "corruption"],
)
def test_accuracy(measure, expected):
    found = check_mean(measure, within=0.015)
    assert found[0].chance == pytest.approx(expected)


def test_the_worst_of_several_factors_is_below_chance_by_selection():
    found = [
        visual_factors.worst_factor(guesses(np.random.default_rng(seed), annotations=factors())) for seed in range(100)
    ]
    assert {one.chance for one in found} == {1 / CLASSES}
    assert np.mean([one.value for one in found]) < 1 / CLASSES
    assert np.mean([one.at_chance for one in found]) > 0.97


def test_decisions_without_known_classes_have_no_chance():
    correct = np.array([True, False])
    bare = Decisions(
        dataset="set", correct=correct, labels=np.array([0, 1]), annotations={FACTORS[0]: np.array([True, True])}
    )
    for measure in (accuracy.top_k, accuracy.mean_per_class, visual_factors.average, visual_factors.worst_factor):
        assert measure(bare).chance is None
        assert not measure(bare).at_chance
    assert visual_factors.accuracy(bare, FACTORS[0]).chance is None
    named = replace(bare, class_names=("a", "b", "c", "d"))
    assert visual_factors.accuracy(named, FACTORS[0]).chance == 1 / 4


def corrupted(rng, kind="fog_3d", **fields):
    answers = rng.integers(0, CLASSES, (4, 240))
    return CorruptedAnswers(
        **{
            "dataset": "photos",
            "kind": kind,
            "severities": (1, 3, 5),
            "answers": answers[1:],
            "clean": answers[0],
            "labels": np.arange(240) % 5,
            "n_classes": CLASSES,
        }
        | fields
    )


@pytest.mark.parametrize("measure", [corruptions.mean_accuracy, corruptions.area])
@pytest.mark.parametrize("kinds", [("fog_3d",), ("fog_3d", "flash")])
def test_accuracy_over_severities(measure, kinds):
    found = check_mean(lambda rng: measure([corrupted(rng, kind) for kind in kinds]), within=0.01)
    assert found[0].chance == 1 / CLASSES
    assert measure([corrupted(np.random.default_rng(0), n_classes=None)]).chance is None


@pytest.fixture
def no_bootstrap(monkeypatch):
    """Leave out the intervals, which take most of the time and are tested elsewhere."""
    monkeypatch.setattr(ood.roc, "bootstrap_interval", lambda *_, value, **__: Interval(value, value, 0.95, "none"))


@pytest.mark.usefixtures("no_bootstrap")
@pytest.mark.parametrize("metric", ood.METRICS)
@pytest.mark.parametrize(("id_n", "ood_n"), [(40, 25), (7, 60)])
def test_detection(metric, id_n, ood_n):
    def measure(rng):
        inside, outside = (Scores(dataset=name, score="mcm", values=rng.normal(size=n)) for name, n in sizes)
        return ood.measure(inside, outside, metric)

    sizes = (("id", id_n), ("ood", ood_n))
    check_mean(measure, within=0.025)


@pytest.mark.usefixtures("no_bootstrap")
@pytest.mark.parametrize("metric", ood.METRICS)
def test_detection_of_classes_and_of_groups(metric):
    """One class has 3 samples, another 12, so that their chance levels differ."""
    classes = np.array([0] * 3 + [1] * 12)

    def outside(rng, n, **fields):
        return Scores(dataset=f"ood-{n}", score="mcm", values=rng.normal(size=n), **fields)

    def of_classes(rng):
        inside = Scores(dataset="id", score="mcm", values=rng.normal(size=20))
        return ood.class_mean(inside, outside(rng, 15, classes=classes), metric)

    def of_group(rng):
        inside = Scores(dataset="id", score="mcm", values=rng.normal(size=20))
        return ood.group_mean([ood.measure(inside, outside(rng, n), metric) for n in (3, 30)], "far")

    check_mean(of_classes, within=0.05)
    check_mean(of_group, within=0.05)


def test_a_group_with_a_set_of_unknown_chance_has_no_chance():
    rng = np.random.default_rng(0)
    inside, outside = (Scores(dataset=name, score="mcm", values=rng.normal(size=9)) for name in ("id", "ood"))
    known = ood.measure(inside, outside, "auroc")
    assert ood.group_mean([known, known], "far").chance == 0.5
    assert ood.group_mean([known, replace(known, chance=None)], "far").chance is None


def test_large_sets_approach_the_known_levels():
    expected = {"auroc": 0.5, "fpr95_id": 0.95, "fpr95_ood": 0.95, "aupr_in": 0.2, "aupr_out": 0.8}
    assert {name: ood.chance_of(name, 20_000, 80_000) for name in ood.METRICS} == pytest.approx(expected, abs=2e-4)


@given(st.integers(1, 50), st.integers(1, 50))
def test_average_precision_equals_the_sum_over_ranks(positives, negatives):
    """Bestgen 2015: a positive at rank k has 1 + (k - 1) (P - 1) / (N - 1) positives down to it, on average."""
    total = positives + negatives
    precision = [(1 + (k - 1) * (positives - 1) / (total - 1)) / k for k in range(1, total + 1)]
    assert ood.chance_of("aupr_in", positives, negatives) == pytest.approx(np.mean(precision))
    assert ood.chance_of("aupr_out", negatives, positives) == pytest.approx(np.mean(precision))


def captioned(rng):
    """Return random features of 12 images with 1 to 4 captions each; one caption is of two images."""
    per_image = np.arange(12) % 4 + 1
    pairs = np.column_stack([np.repeat(np.arange(12), per_image), np.arange(per_image.sum())])
    return CaptionedImages(
        dataset="set",
        images=rng.normal(size=(12, 40)),
        captions=rng.normal(size=(len(pairs), 40)),
        pairs=np.vstack([pairs, [[0, 5]]]),
        image_names=[f"{i}.jpg" for i in range(12)],
        texts=[f"caption {i}" for i in range(len(pairs))],
    )


@cache
def _ranked(seed):
    return rank(captioned(np.random.default_rng(seed)))


def ranked(rng):
    """Rank the images and captions of a generator that was not used before; those of a seed are ranked once."""
    return _ranked(tuple(np.atleast_1d(rng.bit_generator.seed_seq.entropy).tolist()))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("k", [1, 5, 10])
def test_recall(way, k):
    found = check_mean(lambda rng: retrieval.recall(ranked(rng)[way], k), within=0.025)
    ranking = rank(captioned(np.random.default_rng(0)))[way]
    candidates = len(ranking.candidate_names)
    expected = np.mean([1 - hypergeom(candidates, right, k).pmf(0) for right in ranking.right])
    assert found[0].chance == pytest.approx(expected)


@pytest.mark.parametrize("way", WAYS)
def test_ranks(way):
    check_mean(lambda rng: retrieval.mean_rank(ranked(rng)[way]), within=0.3)
    assert retrieval.median_rank(rank(captioned(np.random.default_rng(0)))[way]).chance is None


def contrasts(rng, choices):
    n = len(choices)
    scores = rng.normal(size=(n, choices.max()))
    scores[np.arange(choices.max()) >= choices[:, None]] = -np.inf
    return Contrasts(
        dataset="set",
        true=scores[:, 0],
        false=scores[:, 1:].max(axis=1),
        blind_true=np.zeros(n),
        blind_false=np.ones(n),
        images=np.arange(n),
        choices=choices,
        kinds=["order", "add_object"] * (n // 2),
        samples=[str(i) for i in range(n)],
        true_texts=["true"] * n,
        false_texts=["false"] * n,
        text_only=np.full(n, 0.5),
    )


@pytest.mark.parametrize(
    ("choices", "kind", "expected"),
    [([2, 2], "", 1 / 2), ([4, 4], "", 1 / 4), ([2, 5], "", 0.35), ([2, 5], "order", 0.5)],
)
def test_composition(choices, kind, expected):
    choices = np.tile(choices, 20)
    found = check_mean(lambda rng: composition.accuracy(contrasts(rng, choices), kind), within=0.025)
    assert found[0].chance == pytest.approx(expected)
    one = contrasts(np.random.default_rng(0), choices)
    assert composition.gain_over_blind(one).chance is None
    assert composition.text_only(one).chance is None


@pytest.mark.parametrize("score", composition.WINOGROUND)
def test_winoground(score):
    def measure(rng):
        found = Matches(dataset="w", cosines=rng.normal(size=(50, 2, 2)), kinds=["x"] * 50, samples=[""] * 50)
        return composition.winoground(found, score)

    check_mean(measure, within=0.015)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_probabilities(classes):
    """A model that always gives equal probabilities has the chance value, on any labels."""
    even = softmax_confidences(predicted(np.zeros((30, classes)), np.arange(30) % classes))
    assert calibration.negative_log_likelihood(even).value == pytest.approx(np.log(classes))
    assert calibration.brier_score(even).value == pytest.approx(1 - 1 / classes)
    for name, measure in calibration.METRICS.items():
        found = measure(even)
        assert (found.chance is not None) is (name in {"nll", "brier"})
        assert found.chance is None or found.value == pytest.approx(found.chance)


def test_a_model_that_is_surer_than_right_can_be_accurate_and_its_probabilities_no_better_than_equal_ones(
    random_predictions,
):
    found = random_predictions(skill=1.5)
    sure = softmax_confidences(replace(found, logits=20 * found.logits))
    assert not accuracy.top_k(found).at_chance
    assert calibration.negative_log_likelihood(sure).at_chance
    assert not calibration.negative_log_likelihood(softmax_confidences(found)).at_chance


def cues(rng, **fields):
    """Return guesses on images of shapes of unequal frequency, one in seven without a conflict."""
    shapes = np.minimum(np.arange(70) % 9, CLASSES - 1)
    predictions = predicted(rng.normal(size=(70, CLASSES)), shapes, textures=np.arange(70) % 7)
    return replace(answers_of(predictions), **fields)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [(shape_bias.shape_accuracy, 1 / CLASSES), (shape_bias.cue_coverage, 2 / CLASSES)],
    ids=["shape_accuracy", "cue_coverage"],
)
def test_cues(measure, expected):
    assert check_mean(lambda rng: measure(cues(rng)), within=0.015)[0].chance == pytest.approx(expected)
    assert measure(cues(np.random.default_rng(0), choices=2 * CLASSES)).chance == pytest.approx(expected / 2)
    some = cues(np.random.default_rng(0))
    unknown = replace(some, answers=np.append(some.answers[:-1], NO_ANSWER))
    assert measure(unknown).chance is None
    assert measure(replace(unknown, choices=CLASSES)).chance == pytest.approx(expected)


def test_independent_errors_have_no_consistency():
    observer = replace(cues(np.random.default_rng(99)), dataset="person")
    right = np.arange(70) % 3 > 0
    observer = replace(observer, answers=np.where(right, observer.shapes, (observer.shapes + 1) % CLASSES))
    found = check_mean(lambda rng: shape_bias.error_consistency(cues(rng), [observer]), within=0.02)
    assert found[0].chance == 0
    assert not shape_bias.error_consistency(observer, [observer]).at_chance


@pytest.mark.parametrize("measure", [shape_bias.shape_bias, shape_bias.class_average, shape_bias.texture_accuracy])
def test_preferences_have_no_chance(measure):
    assert measure(cues(np.random.default_rng(0))).chance is None


@pytest.mark.parametrize(
    "measure",
    [
        lambda rng: accuracy.top_k(guesses(rng), k=5),
        lambda rng: accuracy.mean_per_class(guesses(rng)),
        lambda rng: retrieval.mean_rank(rank(captioned(rng))["image_to_text"]),
        lambda rng: corruptions.mean_accuracy([corrupted(rng)]),
        lambda rng: composition.accuracy(contrasts(rng, np.full(40, 2))),
    ],
    ids=["top5", "mean_per_class", "mean_rank", "corruption", "composition"],
)
def test_guessing_models_are_marked_except_for_noise(measure):
    """A two-sided interval of 95 % leaves about 1 of 40 guessing models without a mark."""
    marked = [measure(np.random.default_rng([3, seed])).at_chance for seed in range(200)]
    assert 0.92 < np.mean(marked) <= 1


def test_the_mark_is_not_on_models_with_skill(random_predictions):
    found = random_predictions(skill=3.0)
    assert not accuracy.top_k(found).at_chance
    assert not accuracy.top_k(found, k=5).at_chance
    assert not calibration.brier_score(softmax_confidences(found)).at_chance
    assert decide(found).class_names


def test_a_random_model_with_half_of_its_top_5_correct_is_marked(random_predictions):
    """Of ten classes, five answers include the true one half of the time."""
    found = accuracy.top_k(random_predictions(skill=0.0), k=5)
    assert 0.4 < found.value < 0.6
    assert (found.chance, found.at_chance) == (0.5, True)
