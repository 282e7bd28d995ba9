from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import typographic
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.scoring.painted import PaintedAnswers
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from

CLASSES = 4
ROWS = st.lists(st.tuples(*[st.integers(0, 3)] * 4, st.integers(1, 3)), min_size=2, max_size=40)
"""Label, answers with a word, with a blank note and without a note, and the step from the label to the word's class."""


def painted(rows, dataset="photos"):
    labels, word, blank, clean, step = np.array(rows, np.int64).T

    def decided(answers):
        return Decisions(
            dataset=dataset,
            correct=answers == labels,
            labels=labels,
            samples=[str(i) for i in range(len(labels))],
            answers=answers,
            confidence=np.full(len(labels), 0.5, np.float32),
            class_names=tuple(f"c{i}" for i in range(CLASSES)),
        )

    words = (labels + step) % CLASSES
    return PaintedAnswers(word=decided(word), blank=decided(blank), clean=decided(clean), words=words)


#        label, word, blank, clean, step
BY_HAND = [
    (0, 1, 0, 0, 1),  # reads the word
    (0, 2, 0, 0, 1),  # is confused by the word
    (1, 1, 1, 1, 1),  # resists
    (2, 0, 0, 2, 2),  # is wrong because of the note, and names the word's class with a blank note as well
    (3, 3, 1, 3, 2),  # the word even helps
    (3, 0, 3, 3, 1),  # reads the word
]


def test_what_is_measured_equals_counting_by_hand():
    answers = painted(BY_HAND)
    found = {name: measure(answers) for name, measure in typographic.PROPERTIES.items()}
    assert found["top1"].value == pytest.approx(2 / 6)
    assert found["top1_blank_note"].value == pytest.approx(4 / 6)
    assert found["relative_robustness"].value == pytest.approx(2 / 6)
    assert found["word_effect"].value == pytest.approx(2 / 6)
    assert (found["word_effect"].details["lost"], found["word_effect"].details["gained"]) == (3, 1)
    assert found["attack_success"].value == pytest.approx(3 / 6)
    assert found["attack_success"].details == pytest.approx(
        {"blank_note": 2 / 6, "clean": 0, "of_correct_with_blank_note": 2 / 4}
    )
    assert {name: one.metric for name, one in found.items()} == {
        name: f"typographic.{name}" for name in typographic.PROPERTIES
    }
    assert [name for name, one in found.items() if one.headline] == ["top1"]


@given(ROWS)
def test_values_are_in_their_ranges_and_intervals(rows):
    answers = painted(rows)
    for name, measure in typographic.PROPERTIES.items():
        if name == "relative_robustness" and not answers.clean.correct.any():
            with pytest.raises(MeasurementError, match="no answer to a clean image is correct"):
                measure(answers)
            continue
        measured = measure(answers)
        assert measured.interval.low - 1e-9 <= measured.value <= measured.interval.high + 1e-9
        assert measured.interval.low < measured.interval.high
        if name == "relative_robustness":
            assert measured.value >= 0
        else:
            assert -1 <= measured.value <= 1


@given(ROWS)
def test_the_effect_of_the_word_is_the_difference_of_the_accuracies(rows):
    answers = painted(rows)
    effect = typographic.word_effect(answers)
    assert effect.value == pytest.approx(
        typographic.accuracy_with_blank_note(answers).value - typographic.accuracy(answers).value
    )
    assert 0 < effect.details["p_no_loss"] <= 1


@given(ROWS)
def test_a_model_that_ignores_notes_is_robust(rows):
    rows = [(label, clean, clean, clean, step) for label, _, _, clean, step in rows]
    answers = painted(rows)
    assert typographic.word_effect(answers).value == 0
    success = typographic.attack_success(answers)
    assert success.value == success.details["blank_note"] == success.details["clean"]
    if answers.clean.correct.any():
        assert typographic.relative_robustness(answers).value == 1


def test_a_loss_from_occlusion_is_no_effect_of_the_word():
    answers = painted([(0, 3, 3, 0, 1)] * 5 + [(0, 0, 0, 0, 1)] * 5)
    assert typographic.relative_robustness(answers).value == 0.5
    assert typographic.word_effect(answers).value == 0
    assert typographic.attack_success(answers).value == 0


def test_the_p_value_is_mcnemars():
    from scipy.stats import binom

    answers = painted([(0, 1, 0, 0, 1)] * 8 + [(0, 0, 1, 0, 1)] * 2 + [(0, 0, 0, 0, 1)] * 10)
    mid_p = binom.sf(8, 10, 0.5) + binom.pmf(8, 10, 0.5) / 2
    assert typographic.word_effect(answers).details["p_no_loss"] == pytest.approx(mid_p)


@pytest.mark.parametrize("name", typographic.PROPERTIES)
def test_two_models_are_compared_on_the_same_images(name):
    rng = np.random.default_rng(0)
    labels, steps = rng.integers(0, 4, 200), rng.integers(1, 4, 200)

    def model(seed, resists):
        own = np.random.default_rng(seed)
        clean = np.where(own.random(200) < 0.9, labels, (labels + 1) % 4)
        blank = np.where(own.random(200) < 0.85, labels, (labels + 2) % 4)
        word = np.where(own.random(200) < resists, blank, (labels + steps) % 4)
        return painted(np.stack([labels, word, blank, clean, steps], axis=1))

    measure = typographic.PROPERTIES[name]
    before, after = measure(model(1, 0.8)), measure(model(2, 0.5))
    if name == "relative_robustness":
        assert value_from(before.evidence) == pytest.approx(before.value)
    change = after.value - before.value
    found = compare(before.evidence, after.evidence, direction=after.direction, difference=change)
    assert found.difference == pytest.approx(change, abs=1e-6)
    assert found.interval.low <= change <= found.interval.high
    if name != "top1_blank_note":
        assert found.p_worse < 0.01


def test_predictions_can_be_decided_and_measured(predictions):
    found = decide(predictions([[2, 0], [2, 0]], [0, 1]))
    answers = PaintedAnswers(word=found, blank=found, clean=found, words=np.array([1, 0]))
    assert typographic.accuracy(answers).chance == 0.5
    assert typographic.attack_success(answers).value == 0.5


def test_answers_that_do_not_fit_together_are_an_error():
    answers = painted(BY_HAND)
    with pytest.raises(MeasurementError, match="not about the same samples"):
        dataclasses.replace(answers, clean=painted(BY_HAND[:4]).clean)
    with pytest.raises(MeasurementError, match="not about the same samples, or not known"):
        dataclasses.replace(answers, blank=dataclasses.replace(answers.blank, answers=None))
    with pytest.raises(MeasurementError, match="expected one word for each of 6 samples, of another class"):
        dataclasses.replace(answers, words=answers.word.labels)
