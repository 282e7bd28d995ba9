"""Accuracy under attack, from answers that are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import adversarial
from pytest_clip_robust.scoring.adversarial import AttackedAnswers
from pytest_clip_robust.stats.intervals import wilson


def answers_of(broken, clean=None, *, budgets=(0.5, 1.0, 2.0, 4.0), **changes):
    """Return answers to N images of class 0 that change to 1 at a budget, given by its index; -1 is wrong before."""
    broken = np.asarray(broken)
    answers = np.stack([(broken <= row).astype(np.int64) for row in range(len(budgets))])
    fields = {
        "dataset": "photos",
        "budgets": budgets,
        "steps": 10,
        "labels": np.zeros(len(broken), np.int64),
        "clean": (broken < 0).astype(np.int64) if clean is None else clean,
        "answers": answers,
        "confidence": np.where(answers, 0.5 + np.arange(len(broken)) / 1000, 0.9),
        "class_names": ("cat", "dog"),
        "samples": [f"{i}.png" for i in range(len(broken))],
    }
    return AttackedAnswers(**fields | changes)


def test_counting_by_hand():
    found = [adversarial.accuracy(answers_of([-1, 0, 1, 1, 3, 9]), budget) for budget in adversarial.BUDGETS]
    assert [one.value for one in found] == pytest.approx([4 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert [one.key for one in found][:2] == ["adversarial.top1[photos/linf-0.5]", "adversarial.top1[photos/linf-1]"]
    assert found[1].details == {"clean": pytest.approx(5 / 6), "lost": 3, "steps": 10}
    assert found[1].interval == wilson(2, 6)
    assert [one.sample for one in found[1].misses] == ["3.png", "2.png", "1.png"]
    assert (found[1].misses[0].truth, found[1].misses[0].predicted) == ("cat", "dog")


@settings(max_examples=40)
@given(st.lists(st.integers(-1, 5), min_size=1, max_size=30), st.randoms(use_true_random=False), st.integers(2, 3))
def test_order_and_copies_change_nothing_and_accuracy_falls(broken, random, copies):
    values = [adversarial.accuracy(answers_of(broken), budget).value for budget in adversarial.BUDGETS]
    assert values == sorted(values, reverse=True)
    assert values[0] <= adversarial.accuracy(answers_of(broken), 0.5).details["clean"]
    mixed = broken * copies
    random.shuffle(mixed)
    assert [adversarial.accuracy(answers_of(mixed), budget).value for budget in adversarial.BUDGETS] == pytest.approx(
        values
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": (2.0, 1.0, 0.5, 4.0)}, "expected ascending ones"),
        ({"answers": np.zeros((3, 2), np.int64)}, r"answers of shape \(3, 2\); expected \(4, 2\)"),
        ({"clean": np.zeros(3, np.int64)}, "a clean answer to each image"),
        (
            {"answers": np.array([[1, 0], [0, 0], [0, 0], [0, 0]])},
            "an answer that is wrong is right at a larger budget",
        ),
        ({"clean": np.array([1, 0]), "answers": np.zeros((4, 2), np.int64)}, "is right at a larger budget"),
    ],
)
def test_answers_that_contradict_each_other_are_an_error(changes, message):
    with pytest.raises(MeasurementError, match=message):
        answers_of([9, 9], **changes)


def test_a_budget_that_was_not_attacked_is_an_error():
    with pytest.raises(MeasurementError, match=r"no budget 3; expected one of 0.5, 1, 2, 4"):
        adversarial.accuracy(answers_of([0, 1]), 3.0)
