"""Tests of forced choices: orders, places, votes and the tower's choices, by hand and by invariants."""

from __future__ import annotations

from itertools import pairwise
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.forced_choice import (
    Choices,
    decide_by_vote,
    joined,
    read_places,
    tower_choices,
    worst_choices,
)
from pytest_clip_robust.scoring.likelihoods import LIKELIHOOD_VARIANTS, likelihood_scores
from pytest_clip_robust.scoring.named_answers import Reading
from pytest_clip_robust.scoring.option_orders import averaged_over_orders, balanced_orders, best_places, in_orders


def choices(**fields):
    """Return three samples of the classes a, b, c, each asked in two orders; the second question is not answered."""
    return Choices(
        **{
            "dataset": "set",
            "how": "generated",
            "class_names": ("a", "b", "c"),
            "labels": np.array([0, 1, 2]),
            "samples": ["0.png", "1.png", "2.png"],
            "of_sample": np.array([0, 0, 1, 1, 2, 2]),
            "shown": np.array([[0, 1], [1, 0], [1, 2], [2, 1], [2, 0], [0, 2]]),
            "places": np.array([0, -1, 0, 1, 1, 0]),
            "reasons": ("letter", "refused", "letter", "named", "letter", "letter"),
            "texts": ("A", "I'm sorry, no.", "A", "b", "B", "A"),
        }
        | fields
    )


def test_counting_by_hand():
    found = choices()
    assert found.answers.tolist() == [0, -1, 1, 1, 0, 0]
    assert found.right.tolist() == [True, False, True, True, False, False]
    assert found.truths.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.shares.tolist() == [0.5, 1, 0]
    assert found.questions.tolist() == [2, 2, 2]
    assert (len(found), found.ways, found.variant) == (3, "pairwise", "pairwise_generated")


def test_ways_name_the_number_of_candidates():
    whole = {"shown": np.array([[0, 1, 2]] * 6), "places": np.zeros(6, np.int64)}
    assert choices(**whole).ways == "all_way"
    assert choices(**whole, class_names=("a", "b", "c", "d")).ways == "3_way"


def test_a_part_keeps_the_questions_of_its_samples():
    part = choices().part(np.array([True, False, True]))
    assert part.samples == ["0.png", "2.png"]
    assert part.of_sample.tolist() == [0, 0, 1, 1]
    assert part.shares.tolist() == [0.5, 0]
    assert part.texts == ["A", "I'm sorry, no.", "B", "A"]
    assert list(part.reasons) == ["letter", "refused", "letter", "letter"]
    with pytest.raises(MeasurementError, match="no samples"):
        choices().part(np.zeros(3, np.bool_))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": ["0.png"]}, "3 labels of 1 samples"),
        ({"places": np.array([0])}, "1 answers to 6 lists for 6 samples"),
        ({"reasons": ("letter",)}, "1 reasons for 6 answers"),
        ({"texts": ("A",)}, "1 texts for 6 answers"),
        ({"of_sample": np.array([0, 0, 0, 0, 2, 2])}, "not every sample of 3 has a question"),
        ({"of_sample": np.array([0, 0, 1, 1, 2, 3])}, "not every sample of 3 has a question"),
        ({"places": np.array([0, 0, 0, 0, 0, 2])}, "answers at the places 0 to 2 of 2; expected -1 to 1"),
        ({"places": np.array([0, 0, 0, 0, 0, -2])}, "answers at the places -2 to 0 of 2"),
        ({"shown": np.array([[0], [0], [1], [1], [2], [2]])}, "of at least 2"),
        ({"shown": np.array([[0, 0]] + [[0, 1]] * 3 + [[2, 0]] * 2)}, "'0.png' lists a class twice"),
        ({"shown": np.array([[0, 1]] * 5 + [[2, 0]])}, "'2.png' lists a class twice or lacks the true one"),
        ({"shown": np.array([[0, 3]] + [[0, 1]] * 3 + [[2, 0]] * 2)}, "candidates 0 to 3 of 3"),
    ],
)
def test_questions_that_disagree_are_an_error(fields, message):
    with pytest.raises(MeasurementError, match=message):
        choices(**fields)


def test_a_vote_needs_one_class_that_leads():
    decided = decide_by_vote(choices())
    # One of two questions about the first sample has no answer, so the other one decides.
    assert decided.answers.tolist() == [0, 1, 0]
    assert decided.correct.tolist() == [True, True, False]
    tied = decide_by_vote(choices(places=np.array([0, 0, 0, 0, -1, -1])))
    assert tied.answers.tolist() == [-1, -1, -1]
    assert not tied.correct.any()


def test_samples_without_an_answer_are_the_first_misses():
    first, second = worst_choices(choices())
    assert (first.sample, first.truth, first.confidence) == ("0.png", "a", 0.5)
    assert first.predicted == "(refused) I'm sorry, no."
    assert (second.sample, second.truth, second.predicted, second.confidence) == ("2.png", "c", "a", 1)
    bare = worst_choices(choices(reasons=(), texts=()))
    assert bare[0].predicted == "(no answer)"


@pytest.mark.parametrize("size", range(2, 10))
def test_orders_are_balanced(size):
    orders = balanced_orders(size)
    assert all(sorted(row) == list(range(size)) for row in orders.tolist())
    counts = np.array([np.bincount(place, minlength=size) for place in orders.T])
    assert (counts == len(orders) / size).all()
    assert len(orders) == (factorial(size) if size <= 3 else size)
    assert len({tuple(row) for row in orders.tolist()}) == len(orders)
    if size % 2 == 0:
        neighbours = [pair for row in orders.tolist() for pair in pairwise(row)]
        assert len(set(neighbours)) == len(neighbours) == size * (size - 1) * len(orders) // size


def test_all_orders_are_asked_where_the_limit_allows_it():
    assert len(balanced_orders(4, most=24)) == 24
    assert len(balanced_orders(4, most=23)) == 4
    assert len(balanced_orders(3, most=3)) == 3


@pytest.mark.parametrize(("size", "most", "needed"), [(1, None, 2), (0, None, 2), (5, 4, 5)])
def test_orders_that_cannot_be_balanced_are_an_error(size, most, needed):
    with pytest.raises(MeasurementError, match=rf"orders of {size} candidates cannot be balanced; ask for {needed}"):
        balanced_orders(size, most=most)


def test_lists_are_the_candidates_in_every_order():
    of_sample, shown = in_orders(np.array([[5, 7, 9], [1, 2, 3]]), balanced_orders(3, most=3))
    assert of_sample.tolist() == [0, 0, 0, 1, 1, 1]
    assert shown.tolist() == [[5, 7, 9], [7, 9, 5], [9, 5, 7], [1, 2, 3], [2, 3, 1], [3, 1, 2]]


def test_the_highest_score_wins_and_of_equal_ones_the_lower_class():
    shown = np.array([[2, 0, 1], [2, 0, 1], [0, 1, 2]])
    scores = np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [0.0, 5.0, 5.0]])
    assert best_places(scores, shown).tolist() == [1, 1, 1]
    with pytest.raises(MeasurementError, match="no NaN"):
        best_places(np.full((3, 3), np.nan), shown)
    with pytest.raises(MeasurementError, match=r"scores of shape \(3, 2\)"):
        best_places(scores[:, :2], shown)


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_scores_that_depend_on_the_class_alone_are_their_own_mean_over_orders(size, n, seed):
    rng = np.random.default_rng(seed)
    candidates = np.array([rng.permutation(9)[:size] for _ in range(n)])
    of_sample, shown = in_orders(candidates, balanced_orders(size))
    of_class = rng.normal(size=(n, 9))
    scores, classes = averaged_over_orders(np.take_along_axis(of_class[of_sample], shown, axis=1), of_sample, shown)
    assert (classes == np.sort(candidates, axis=1)).all()
    np.testing.assert_allclose(scores, np.take_along_axis(of_class, classes, axis=1))


def test_a_preference_for_a_place_cancels_in_balanced_orders():
    of_sample, shown = in_orders(np.array([[0, 1, 2, 3]]), balanced_orders(4))
    of_place = np.array([9.0, 0.0, 0.0, 0.0])
    of_class = np.array([0.0, 0.1, 0.3, 0.2])
    scores, classes = averaged_over_orders(of_place + of_class[shown], of_sample, shown)
    assert classes[0, scores[0].argmax()] == 2


def test_a_mean_over_lists_of_other_candidates_is_an_error():
    with pytest.raises(MeasurementError, match="differ in more than their order"):
        averaged_over_orders(np.zeros((2, 2)), np.array([0, 0]), np.array([[0, 1], [0, 2]]))


def test_readings_become_places():
    places, reasons = read_places([Reading(1, "letter"), Reading(None, "empty")])
    assert places.tolist() == [1, -1]
    assert reasons == ("letter", "empty")


def predictions(**fields):
    logits = np.array([[3, 2, 1], [1, 1, 0], [2, 0, 1]], np.float32)
    names = ("a", "b", "c")
    given = {"labels": np.array([0, 1, 2]), "samples": ["0.png", "1.png", "2.png"], "class_names": names}
    return Predictions(**{"dataset": "set", "logits": logits, "class_ids": names} | given | fields)


def test_a_tower_chooses_among_the_same_candidates_by_its_logits():
    found = tower_choices(predictions(), choices())
    # The tie of a and b does not matter where a is no candidate.
    assert found.answers.tolist() == [0, 0, 1, 1, 0, 0]
    assert (found.how, found.texts, found.reasons) == ("tower", (), ())
    tied = tower_choices(predictions(), choices(shown=np.array([[0, 1], [1, 0], [1, 0], [0, 1], [2, 0], [0, 2]])))
    assert tied.answers.tolist() == [0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": ["0.png", "2.png", "1.png"]}, "about other samples"),
        ({"labels": np.array([0, 1, 1])}, "about other samples"),
        ({"class_names": ("a", "b", "d")}, "which are not the same"),
    ],
)
def test_a_tower_that_was_asked_about_something_else_is_an_error(fields, message):
    with pytest.raises(MeasurementError, match=message):
        tower_choices(predictions(**fields), choices())


def test_joined_questions_are_those_of_all_parts():
    first, second = choices(), choices(places=np.array([1, 1, -1, 0, 0, 1]), texts=("A", "a", "?", "b", "A", "C"))
    found = joined([first, second])
    assert (len(found), found.questions.tolist()) == (3, [4, 4, 4])
    np.testing.assert_allclose(found.shares, (first.shares + second.shares) / 2)
    assert list(found.texts) == [*first.texts, *second.texts]
    assert list(found.reasons) == [*first.reasons, *second.reasons]
    assert joined([first]).answers.tolist() == first.answers.tolist()


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_the_order_of_joined_parts_does_not_matter(seeds):
    parts = [choices(places=np.random.default_rng(seed).integers(-1, 2, 6)) for seed in seeds]
    np.testing.assert_allclose(joined(parts).shares, joined(parts[::-1]).shares)


@pytest.mark.parametrize(
    "other",
    [
        {"samples": ["0.png", "2.png", "1.png"]},
        {"labels": np.array([1, 1, 2])},
        {"how": "likelihood_sum"},
        {"class_names": ("a", "b", "d")},
    ],
)
def test_choices_about_other_samples_are_not_joined(other):
    with pytest.raises(MeasurementError, match="'set' and 'set' are not choices about the same samples"):
        joined([choices(), choices(**other)])


def test_likelihood_variants_choose_different_winners():
    """Numbers in the manner of a language model: every token costs, later ones less."""
    sums = np.array([[-4.0, -5.0, -6.0]])
    tokens, sizes = np.array([1, 2, 5]), np.array([3, 12, 13])
    found = {one: likelihood_scores(sums, tokens, sizes, one) for one in LIKELIHOOD_VARIANTS}
    assert [found[one].argmax() for one in LIKELIHOOD_VARIANTS] == [0, 2, 1]
    np.testing.assert_allclose(found["mean"], [[-4, -2.5, -1.2]])
    np.testing.assert_allclose(found["per_byte"], [[-4 / 3, -5 / 12, -6 / 13]])
    each = likelihood_scores(sums, tokens[None], sizes[None], "mean")
    np.testing.assert_array_equal(each, found["mean"])


@pytest.mark.parametrize(
    ("given_sums", "tokens", "sizes", "variant", "message"),
    [
        ([[-1.0, 0.5]], [1, 1], [1, 1], "sum", r"the log-probability 0\.5 of a candidate"),
        ([[-1.0, np.nan]], [1, 1], [1, 1], "mean", "the log-probability nan"),
        ([[-1.0, -np.inf]], [1, 1], [1, 1], "mean", "the log-probability -inf"),
        ([[-1.0, -2.0]], [1, 0], [1, 1], "mean", "a candidate of 0 tokens"),
        ([[-1.0, -2.0]], [1, 1], [1, 0], "mean", "a candidate of 0 bytes"),
        ([[-1.0, -2.0]], [1, 1, 1], [1, 1], "mean", r"tokens of shape \(3,\)"),
        ([[-1.0, -2.0]], [1, 1], [1, 1], "median", "no likelihood variant 'median'; it is one of sum, mean, per_byte"),
    ],
)
def test_log_probabilities_that_cannot_be_are_an_error(given_sums, tokens, sizes, variant, message):
    with pytest.raises(MeasurementError, match=message):
        likelihood_scores(np.array(given_sums), np.array(tokens), np.array(sizes), variant)
