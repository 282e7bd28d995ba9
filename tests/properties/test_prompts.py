"""Tests of prompt sensitivity against pairwise counting, Fleiss' kappa of statsmodels, and plain resampling."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import TEMPLATE_ANSWERS

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.calibration import expected_error
from pytest_clip_robust.properties.ood import measure
from pytest_clip_robust.properties.prompts import agreement, auroc, ece, fewer_templates, spread, top1
from pytest_clip_robust.scoring.confidence import Confidences
from pytest_clip_robust.scoring.decisions import Decisions, TemplateAnswers
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.scoring.prompted import ByPrompts
from pytest_clip_robust.stats.resampling import resample


def answers(table):
    return TemplateAnswers(dataset="set", answers=table, labels=table[:, 0])


def by_prompts(found, templates=(1, 7)):
    return ByPrompts(dataset="set", answers=found, templates=templates)


def by_accuracy(correct, templates=(1, 7)):
    labels = np.zeros(len(next(iter(correct.values()))), np.int64)
    decided = {name: Decisions(dataset="set", correct=one, labels=labels) for name, one in correct.items()}
    return top1(by_prompts(decided, templates))


@given(TEMPLATE_ANSWERS)
def test_agreement_is_the_share_of_agreeing_pairs(table):
    pairs = [np.mean(table[:, i] == table[:, j]) for i, j in combinations(range(table.shape[1]), 2)]
    found = agreement(answers(table))
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.outcomes.mean() == pytest.approx(found.value)
    assert found.details["unanimous"] == pytest.approx(np.mean([len(set(row)) == 1 for row in table.tolist()]))


@given(TEMPLATE_ANSWERS, st.data())
def test_agreement_does_not_depend_on_order_or_class_names(table, data):
    rows = data.draw(st.permutations(range(len(table))))
    columns = data.draw(st.permutations(range(table.shape[1])))
    renamed = 10 - table[rows][:, columns]
    assert agreement(answers(renamed)).value == pytest.approx(agreement(answers(table)).value)
    kappa = agreement(answers(table)).details["fleiss_kappa"]
    assert agreement(answers(renamed)).details["fleiss_kappa"] == pytest.approx(kappa)


def test_fleiss_kappa_of_his_published_example():
    votes = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    table = np.array([np.repeat(np.arange(5), row) for row in votes])
    assert agreement(answers(table)).details["fleiss_kappa"] == pytest.approx(0.2099, abs=1e-4)


def test_agreement_of_one_template_is_an_error():
    with pytest.raises(MeasurementError, match="1 template agrees with itself"):
        agreement(answers(np.zeros((5, 1), np.int64)))


def test_spread_and_change_of_accuracy():
    few, many = np.array([1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 1, 0], bool)
    found = by_accuracy({"photo": few, "eighty": many})
    assert spread(found).value == pytest.approx(0.2)
    assert spread(found).details == {"photo": 0.6, "eighty": 0.8}
    change = fewer_templates(found)
    assert change.value == pytest.approx(-0.2)
    assert change.metric == "prompts.fewer_templates_top1"
    assert change.remark == "photo (1) minus eighty (7)"
    assert change.direction == "higher"


def test_differences_are_paired():
    """Two sets with the same correct images have no spread in any replicate, for any number of images."""
    same = np.array([1, 0, 0, 1, 0], bool)
    found = by_accuracy({"a": same, "b": same})
    assert (fewer_templates(found).interval.low, fewer_templates(found).interval.high) == (0, 0)


def test_the_interval_of_a_change_is_that_of_a_paired_difference():
    rng = np.random.default_rng(0)
    few, many = rng.random(400) < 0.7, rng.random(400) < 0.75
    interval = fewer_templates(by_accuracy({"a": few, "b": many})).interval
    standard_error = (few.astype(float) - many).std(ddof=1) / 20
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_values_equal_the_plain_metrics():
    rng = np.random.default_rng(0)
    confidence = rng.random((2, 120))
    found = {
        name: Confidences(dataset="set", confidence=row, correct=rng.random(120) < row**2, n_classes=5)
        for name, row in zip("ab", confidence, strict=True)
    }
    by_set = ece(by_prompts(found))
    assert by_set.values == pytest.approx([expected_error(one).value for one in found.values()])
    assert by_set.direction == "lower"
    scored = {
        name: tuple(
            Scores(dataset=side, score="mcm", values=rng.normal(mean, 1, n))
            for side, mean, n in (("id", 1, 90), ("o", 0, 70))
        )
        for name in "ab"
    }
    by_set = auroc(by_prompts(scored))
    expected = [measure(inside, outside, "auroc") for inside, outside in scored.values()]
    assert by_set.values == pytest.approx([one.value for one in expected])
    replicates = resample(by_set.evidence)[0][1:]
    widths = np.quantile(replicates, 0.975, axis=0) - np.quantile(replicates, 0.025, axis=0)
    assert widths == pytest.approx([one.interval.high - one.interval.low for one in expected], rel=0.25)


def test_comparing_different_things_is_an_error():
    same = np.array([1, 0], bool)
    with pytest.raises(MeasurementError, match="a comparison needs at least two"):
        by_accuracy({"a": same}, templates=(1,))
    with pytest.raises(MeasurementError, match="all have 7 templates; compare sets"):
        fewer_templates(by_accuracy({"a": same, "b": same}, templates=(7, 7)))
