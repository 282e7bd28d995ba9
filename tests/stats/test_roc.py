"""Tests of ROC statistics against scikit-learn, brute force, closed forms and published numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from strategies import FINITE_SCORES, SCORES

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats import roc


def area(positives, negatives):
    counted = roc.tally(np.asarray(positives, float), np.asarray(negatives, float))
    return float(roc.auroc(counted.positives, counted.negatives))


@given(SCORES, SCORES)
def test_every_statistic_equals_scikit_learns_with_ties(positives, negatives):
    truth = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
    scores = np.r_[positives, negatives]
    counted = roc.tally(positives, negatives)
    p, q = counted.positives, counted.negatives
    assert float(roc.auroc(p, q)) == pytest.approx(roc_auc_score(truth, scores))
    assert float(roc.average_precision(p, q)) == pytest.approx(average_precision_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert float(roc.false_positive_rate(p, q)) == pytest.approx(false[np.argmax(true >= 0.95 - 1e-9)])


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_correctly_ordered_pairs(positives, negatives):
    wins = (positives[:, None] > negatives).mean() + (positives[:, None] == negatives).mean() / 2
    assert area(positives, negatives) == pytest.approx(wins)
    assert area(negatives, positives) == pytest.approx(1 - wins)


@given(SCORES, SCORES, st.randoms(use_true_random=False), st.integers(2, 4))
def test_statistics_do_not_depend_on_order_or_copies(positives, negatives, random, copies):
    shuffled = random.sample(positives.tolist(), len(positives))
    assert area(shuffled, negatives) == area(positives, negatives)
    assert area(np.tile(positives, copies), np.tile(negatives, copies)) == pytest.approx(area(positives, negatives))


@given(SCORES, SCORES)
def test_auroc_does_not_depend_on_monotone_transforms(positives, negatives):
    expected = area(positives, negatives)
    for transform in (np.exp, lambda x: x**3, lambda x: 5e8 + 100 * x, np.arctan):
        assert area(transform(positives), transform(negatives)) == expected


@given(FINITE_SCORES, FINITE_SCORES)
def test_scores_of_any_magnitude_stay_in_bounds(positives, negatives):
    counted = roc.tally(positives, negatives)
    interval = roc.auroc_interval(counted)
    value = float(roc.auroc(counted.positives, counted.negatives))
    assert 0 <= interval.low <= value <= interval.high <= 1


def test_large_scores_keep_their_order(shared):
    golden = json.loads((shared / "golden" / "golden.json").read_text())["auroc_large_scores"]
    scores, labels = np.array(golden["preds"]), np.array(golden["labels"])
    found = area(scores[labels == 1], scores[labels == 0])
    assert found == pytest.approx(golden["expected"], abs=1e-12)
    assert round(found, 6) == 0.928571


def test_infinite_scores_rank_first_and_last():
    assert area([np.inf, 1], [-np.inf, 0]) == 1
    assert area([np.inf], [np.inf]) == 0.5


@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        ([], [1.0], "positives of shape .0,.: a ranking needs at least one score"),
        ([1.0], [], "negatives of shape .0,."),
        ([1.0, np.nan, np.nan], [1.0], "2 of 3 scores of the positives are NaN, first at 1"),
    ],
)
def test_scores_that_cannot_be_ranked_are_an_error(positives, negatives, message):
    with pytest.raises(MeasurementError, match=message):
        roc.tally(np.array(positives), np.array(negatives))


def test_equal_scores_give_chance_level():
    counted = roc.tally(np.ones(10), np.ones(30))
    p, q = counted.positives, counted.negatives
    assert float(roc.auroc(p, q)) == 0.5
    assert float(roc.false_positive_rate(p, q)) == 1
    assert float(roc.average_precision(p, q)) == 0.25
    interval = roc.auroc_interval(counted)
    assert interval.low == interval.high == 0.5


@given(SCORES.filter(lambda scores: len(scores) > 1), SCORES.filter(lambda scores: len(scores) > 1))
def test_delongs_variance_equals_that_of_placements(positives, negatives):
    won = (positives[:, None] > negatives) + (positives[:, None] == negatives) / 2
    expected = won.mean(axis=1).var(ddof=1) / len(positives) + won.mean(axis=0).var(ddof=1) / len(negatives)
    assert roc.delong_variance(roc.tally(positives, negatives)) == pytest.approx(expected, abs=1e-12)


def test_the_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # Phi(1 / sqrt(2)): unit normals whose means differ by 1
    inside = 0
    for _ in range(400):
        interval = roc.auroc_interval(roc.tally(rng.normal(1, 1, 60), rng.normal(0, 1, 60)))
        inside += interval.low <= truth <= interval.high
    assert 0.92 < inside / 400 < 0.98


def test_a_perfect_ranking_of_few_samples_has_an_interval_of_positive_width():
    interval = roc.auroc_interval(roc.tally(np.arange(10) + 100.0, np.arange(12.0)))
    assert interval.high == 1
    assert interval.low == pytest.approx(0.7225, abs=1e-3)


@pytest.mark.parametrize("statistic", [roc.auroc, roc.false_positive_rate, roc.average_precision])
def test_the_bootstrap_agrees_with_resampling_every_score(statistic):
    rng = np.random.default_rng(1)
    positives, negatives = rng.normal(1.2, 1, 300), rng.normal(0, 1, 200)
    counted = roc.tally(positives, negatives)
    value = float(statistic(counted.positives, counted.negatives))
    values = []
    for _ in range(600):
        drawn = roc.tally(rng.choice(positives, 300), rng.choice(negatives, 200))
        values.append(float(statistic(drawn.positives, drawn.negatives)))
    slow = np.quantile(values, [0.025, 0.975])
    fast = roc.bootstrap_interval(statistic, roc.coarse_tallies(positives, [negatives]), value=value)
    assert fast.low <= value <= fast.high
    assert fast.high - fast.low == pytest.approx(slow[1] - slow[0], rel=0.3)


@pytest.mark.parametrize("groups", [1, 3])
def test_statistics_of_the_same_scores_share_their_replicates(groups, monkeypatch):
    rng = np.random.default_rng(2)
    cells = roc.coarse_tallies(rng.normal(1, 1, 300), [rng.normal(0, 1, 50) for _ in range(groups)])
    other = roc.coarse_tallies(rng.normal(1, 1, 200), [rng.normal(0, 1, 40)])
    draws = []
    drawn = roc._drawn
    monkeypatch.setattr(roc, "_drawn", lambda *given: draws.append(given) or drawn(*given))

    def intervals():
        return [
            roc.bootstrap_interval(statistic, counted, value=0.5, replicates=200)
            for counted in (cells, other)
            for statistic in (roc.auroc, roc.false_positive_rate, roc.average_precision)
        ]

    roc._KEPT.clear()
    kept = intervals()
    assert len(draws) == 2
    monkeypatch.setattr(roc, "DRAWS_KEPT", 0)
    assert intervals() == kept, "replicates that need much memory are drawn again, and are the same"
    assert len(draws) == 8


def test_replicates_that_need_much_memory_are_used_one_after_the_other(monkeypatch):
    rng = np.random.default_rng(3)
    cells = roc.coarse_tallies(rng.normal(1, 1, 60), [rng.normal(0, 1, 20) for _ in range(3)])
    events, drawn = [], roc._drawn

    def noted(*given):
        for one in drawn(*given):
            events.append("drawn")
            yield one

    def statistic(positives, negatives):
        events.append("used")
        return roc.auroc(positives, negatives)

    monkeypatch.setattr(roc, "_drawn", noted)
    monkeypatch.setattr(roc, "DRAWS_KEPT", 0)
    roc.bootstrap_interval(statistic, cells, value=0.5, replicates=50)
    assert events == ["drawn", *["drawn", "used"] * 3]


@given(SCORES, SCORES)
def test_cells_keep_equal_scores_together_and_lose_none(positives, negatives):
    (cells,) = roc.coarse_tallies(positives, [negatives], cells=3)
    assert cells.positives.sum() == len(positives)
    assert cells.negatives.sum() == len(negatives)
    exact = roc.tally(positives, negatives)
    if len(exact.positives) <= 3:
        assert float(roc.auroc(cells.positives, cells.negatives)) == pytest.approx(area(positives, negatives))
