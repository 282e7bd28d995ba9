"""The search for the step at which an answer changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.decisions import Decisions
from pytest_clip_robust.scoring.invariance import BreakingSteps, ChangedAnswers, CombinedAnswers, find_breaking_steps

SIZES_AND_STEPS = st.lists(st.integers(1, 20).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size + 1))))


def counted(changes):
    calls = []

    def ask(items, steps):
        calls.append((items.copy(), steps.copy()))
        return changes(items, steps)

    return ask, calls


@given(SIZES_AND_STEPS)
def test_the_exact_step_is_found_where_stronger_steps_change_the_answer_too(pairs):
    truth = np.array([step for _, step in pairs], np.int64)
    ask, calls = counted(lambda items, steps: steps >= truth[items])
    found = find_breaking_steps([size for size, _ in pairs], ask)
    assert found.tolist() == truth.tolist()
    most = max((size for size, _ in pairs), default=0)
    assert len(calls) <= (1 + int(np.log2(most)) if most else 0)
    for items, steps in calls:
        assert all(1 <= step <= pairs[item][0] for item, step in zip(items, steps, strict=True))


@given(st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=1, max_size=6))
def test_any_answers_give_a_step_that_changes_with_one_below_that_does_not(table):
    changed = np.array(table)
    ask, calls = counted(lambda items, steps: changed[items, steps - 1])
    found = find_breaking_steps([8] * len(table), ask)
    for row, step in enumerate(found.tolist()):
        assert step == 9 or changed[row, step - 1]
        assert step == 1 or not changed[row, step - 2]
    assert sum(len(items) for items, _ in calls) <= 4 * len(table)


def test_the_first_question_is_the_middle_of_all():
    ask, calls = counted(lambda items, steps: np.ones(len(items), bool))
    find_breaking_steps([8, 1, 8], ask)
    assert [one.tolist() for one in calls[0]] == [[0, 1, 2], [4, 1, 4]]


def decisions(answers=(0, 1, 1), labels=(0, 1, 0)):
    answers, labels = np.array(answers), np.array(labels)
    return Decisions(
        dataset="photos",
        correct=answers == labels,
        labels=labels,
        answers=answers,
        class_names=("cat", "dog"),
        samples=[f"{i}.png" for i in range(len(labels))],
    )


def test_answers_that_stay_are_kept_whether_right_or_wrong():
    before = decisions()
    found = ChangedAnswers(
        change="crop", before=before, after=np.array([1, 1, 1]), confidence=np.ones(3), provenance=before.provenance
    )
    assert found.kept.tolist() == [False, True, True]
    assert len(found) == 3
    assert found.dataset == "photos"


def test_answers_that_do_not_fit_are_an_error():
    before = decisions()
    origin = before.provenance
    with pytest.raises(MeasurementError, match="crop on 'photos': the answers before and after are not known for"):
        ChangedAnswers(change="crop", before=before, after=np.array([1]), confidence=np.ones(3), provenance=origin)
    after = {"after": np.array([1, 1, 1]), "confidence": np.ones(3), "provenance": origin}
    with pytest.raises(MeasurementError, match="crop on 'photos': steps 0 to 4; expected 1 to 3"):
        BreakingSteps(transformation="crop", strengths=(0.1, 0.2), before=before, steps=np.array([0, 4, 1]), **after)
    with pytest.raises(MeasurementError, match=r"combinations on 'photos': answers of shape \(3, 0\)"):
        CombinedAnswers(
            before=before,
            combinations=(),
            kept=np.zeros((3, 0), bool),
            mildest=None,
            tried=0,
            demanded=0.8,
            provenance=origin,
        )
