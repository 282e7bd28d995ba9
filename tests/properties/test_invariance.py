"""Agreement of answers under changes, and the median strength at which answers change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import TRANSFORMATIONS, strength_at
from pytest_clip_robust.properties import invariance
from pytest_clip_robust.scoring.decisions import Decisions
from pytest_clip_robust.scoring.invariance import BreakingSteps, ChangedAnswers, CombinedAnswers, Mildest
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from

NAMES = ("cat", "dog", "bird")
ORIGIN = Provenance(data="aa")
ROWS = st.lists(st.tuples(*[st.integers(0, 2)] * 3, st.integers(1, 9)), min_size=2, max_size=40)
"""Label, answer before, answer after, and the step at which the answer changes."""


def before_of(labels, answers):
    labels, answers = np.asarray(labels, np.int64), np.asarray(answers, np.int64)
    return Decisions(
        dataset="photos",
        correct=answers == labels,
        labels=labels,
        answers=answers,
        class_names=NAMES,
        samples=[f"{i}.png" for i in range(len(labels))],
        provenance=ORIGIN,
    )


def changed(labels, before, after, change="crop"):
    confidence = np.linspace(0.4, 0.9, len(labels))
    return ChangedAnswers(
        change=change,
        before=before_of(labels, before),
        after=np.asarray(after, np.int64),
        confidence=confidence,
        provenance=dataclasses.replace(ORIGIN, data=change),
    )


def broken(labels, before, steps, name="rotation", after=None):
    found = before_of(labels, before)
    return BreakingSteps(
        transformation=name,
        strengths=tuple(strength_at(name, step) for step in range(1, 9)),
        before=found,
        steps=np.asarray(steps, np.int64),
        after=found.answers if after is None else np.asarray(after, np.int64),
        confidence=np.full(len(labels), 0.5),
        provenance=ORIGIN,
    )


def test_agreement_counts_answers_that_stay():
    found = invariance.agreement_under(changed([0, 1, 2, 0], [0, 1, 0, 1], [0, 0, 0, 0]))
    assert found.key == "invariance.agreement[photos/crop]"
    assert (found.value, found.n, found.headline) == (0.5, 4, False)
    assert found.details == {"lost": 1, "gained": 1}
    assert found.remark == "such as 1.png: dog -> cat"
    assert [(one.sample, one.truth, one.predicted) for one in found.misses] == [("1.png", "dog", "cat")]
    assert found.interval.method == "Wilson"


def test_the_headline_is_the_mean_over_transformations():
    one = changed([0, 1, 2, 0], [0, 1, 0, 1], [0, 0, 0, 0])
    two = changed([0, 1, 2, 0], [0, 1, 0, 1], [0, 1, 0, 1], "flip")
    found = invariance.agreement([one, two])
    assert found.key == "invariance.agreement[photos]"
    assert found.value == 0.75
    assert found.headline
    assert found.details == {"crop": 0.5, "flip": 1.0}
    assert found.outcomes.tolist() == [1, 0.5, 1, 0.5]
    assert found.provenance.data not in {"crop", "flip", "aa"}


@given(ROWS)
def test_values_are_shares_within_their_intervals(rows):
    labels, before, after, _ = np.array(rows).T
    one = changed(labels, before, after)
    for found in (invariance.agreement_under(one), invariance.text_agreement(one), invariance.agreement([one, one])):
        assert found.value == pytest.approx(np.mean(before == after))
        assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


def test_no_transformation_is_an_error():
    with pytest.raises(MeasurementError, match="agreement under no transformation"):
        invariance.agreement([])


def test_the_radius_is_the_median_over_right_answers():
    found = invariance.radius(broken([0] * 6, [0, 0, 0, 0, 0, 1], [2, 9, 4, 4, 6, 9], after=[1, 0, 2, 1, 1, 1]))
    assert found.key == "invariance.radius_rotation[photos]"
    assert (found.value, found.n) == (24, 5)
    assert found.remark == "mildest: rotation (12 degrees), 0.png: cat -> dog"
    assert [one.sample for one in found.misses] == ["0.png", "2.png", "3.png", "4.png"]
    assert found.details == {"never_changed": pytest.approx(0.2)}
    assert found.plot["strength"].tolist() == [6, 12, 18, 24, 30, 36, 42, 48]
    assert found.plot["share_kept"].tolist() == pytest.approx([1, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.2])
    assert found.evidence.drawn()["share_kept"].tolist() == found.plot["share_kept"].tolist()


def test_answers_that_never_change_count_as_larger_than_every_strength():
    labels = [0] * 5
    half = invariance.radius(broken(labels[:4], labels[:4], [1, 8, 9, 9]))
    assert half.value == 48
    assert not half.remark.startswith("the median is above")
    most = invariance.radius(broken(labels, labels, [1, 8, 9, 9, 9]))
    assert most.value == 48
    assert most.remark.startswith("the median is above the largest strength: 3 of 5 answers never change; mildest: ")
    none = invariance.radius(broken(labels, labels, [9] * 5))
    assert (none.value, none.misses) == (48, ())
    assert none.remark == "the median is above the largest strength: 5 of 5 answers never change"
    assert none.interval.low < 48 == none.interval.high


def test_without_a_right_answer_there_is_no_radius():
    with pytest.raises(MeasurementError, match="'photos': no answer is right before the transformation"):
        invariance.radius(broken([0, 0], [1, 1], [9, 9]))


@given(ROWS)
def test_the_radius_equals_sorting(rows):
    labels, before, _, steps = np.array(rows).T
    right = np.sort(steps[before == labels])
    steps = np.where(before == labels, steps, 9)
    if not right.size:
        return
    found = invariance.radius(broken(labels, before, steps))
    expected = right[(len(right) - 1) // 2]
    assert found.value == strength_at("rotation", min(expected, 8))
    assert value_from(found.evidence) == found.value
    assert 0 <= found.interval.low <= found.interval.high <= 48


def test_a_smaller_radius_is_found_in_pairs():
    rng = np.random.default_rng(0)
    labels, steps = np.zeros(60, int), rng.integers(4, 10, 60)
    before, after = (invariance.radius(broken(labels, labels, one)) for one in (steps, steps - rng.integers(0, 4, 60)))
    found = compare(before.evidence, after.evidence, direction="higher")
    assert found.difference == after.value - before.value < 0
    assert found.p_worse < 0.05
    assert found.interval.low <= found.difference <= found.interval.high


MILDEST = Mildest(combination=(("crop", 4), ("jpeg", 2)), kept=0.5, sample="1.png", before="dog", after="cat")


def combined(kept, mildest=MILDEST):
    kept = np.asarray(kept, bool)
    combinations = ((("flip", 1), ("hue", 2)), (("crop", 1), ("jpeg", 3)))
    return CombinedAnswers(
        before=before_of([0] * len(kept), [0] * len(kept)),
        combinations=combinations,
        kept=kept,
        mildest=mildest,
        tried=20,
        demanded=0.8,
        provenance=ORIGIN,
    )


KEPT = [[1, 1], [1, 0], [0, 0], [1, 1]]


def test_combinations_are_averaged_and_the_mildest_one_is_named():
    found = invariance.combination_agreement(combined(KEPT))
    assert found.key == "invariance.combination_agreement[photos]"
    assert (found.value, found.n) == (pytest.approx(5 / 8), 4)
    assert found.details == {"flip_1+hue_2": 0.75, "crop_1+jpeg_3": 0.5, "tried_by_search": 20}
    assert found.remark == (
        "mildest: crop (0.32 of the area cut away) and jpeg (24 below JPEG quality 100) leaves 50%, "
        "such as 1.png: dog -> cat"
    )
    assert found.interval.low < 5 / 8 < found.interval.high
    assert value_from(found.evidence) == pytest.approx(5 / 8)


def test_a_search_that_finds_nothing_says_so():
    found = invariance.combination_agreement(combined(KEPT, None))
    assert found.remark == "none of 20 combinations that were tried leaves fewer than 80% of answers"


def test_the_mildest_combination_is_stored_as_evidence_and_read_back():
    for mildest, expected in ((MILDEST, MILDEST.combination), (None, ())):
        strata = invariance.combination_agreement(combined(KEPT, mildest)).evidence.strata
        columns = {(one.name, name): column for one in strata for name, column in one.columns.items()}
        assert invariance.stored_combination(columns) == expected
    assert invariance.stored_combination({}) == ()
    unknown = {
        (invariance.MILDEST, "transformation"): np.array([200, 1, 2], np.uint8),
        (invariance.MILDEST, "step"): np.array([1, 1, 90], np.uint8),
    }
    assert invariance.stored_combination(unknown) == (("flip", 1),)


def test_models_with_other_mildest_combinations_are_compared_on_the_drawn_ones():
    same = invariance.combination_agreement(combined(KEPT, None))
    before, after = (invariance.combination_agreement(combined(one)) for one in (KEPT, np.zeros((4, 2))))
    assert compare(same.evidence, before.evidence, direction="higher").difference == 0
    assert compare(before.evidence, after.evidence, direction="higher").difference == pytest.approx(-5 / 8)
    many = [invariance.combination_agreement(combined(np.tile(one, (10, 1)))) for one in (KEPT, [[0, 0], [1, 0]] * 2)]
    assert compare(many[0].evidence, many[1].evidence, direction="higher").p_worse < 0.01


def test_every_searched_transformation_has_a_metric_with_a_tolerance_of_one_step():
    assert set(invariance.RADIUS) == set(TRANSFORMATIONS) - {"flip"}
    assert invariance.RADIUS["jpeg"].tolerance == 12
