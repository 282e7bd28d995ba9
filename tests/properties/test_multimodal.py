"""Tests of classification by LMMs: by hand, by simulated models whose bias is known, and against published answers."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import lmm_protocols, multimodal, tower_gain
from pytest_clip_robust.scoring.forced_choice import Choices
from pytest_clip_robust.scoring.option_orders import balanced_orders, in_orders
from pytest_clip_robust.stats.intervals import wilson
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from

KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")


def asked(labels, candidates, places, *, orders=None, classes=0, **fields):
    """Return choices of N samples between `candidates` (N, K) in `orders`; `places` (N, O) are those of the answers."""
    candidates, labels = np.asarray(candidates), np.asarray(labels)
    of_sample, shown = in_orders(candidates, np.arange(candidates.shape[1])[None] if orders is None else orders)
    return Choices(
        **{
            "dataset": "set",
            "how": "generated",
            "class_names": tuple(f"c{i}" for i in range(max(classes, candidates.max() + 1))),
            "labels": labels,
            "samples": [f"{i}.png" for i in range(len(labels))],
            "of_sample": of_sample,
            "shown": shown,
            "places": np.asarray(places).reshape(-1),
        }
        | fields
    )


def one_way(right, labels, **fields):
    """Return choices between all classes, in one order, where a wrong answer is the next class."""
    labels, right = np.asarray(labels), np.asarray(right, np.bool_)
    classes = int(labels.max()) + 1
    places = np.where(right, labels, (labels + 1) % classes)
    return asked(labels, np.tile(np.arange(classes), (len(labels), 1)), places, **fields)


def test_accuracy_is_averaged_over_orders():
    found = asked(
        [0, 0, 1], [[0, 1]] * 3, [[0, 1], [0, 0], [-1, -1]], orders=balanced_orders(2), classes=4,
        reasons=("letter",) * 4 + ("refused", "several"),
    )  # fmt: skip
    measured = multimodal.accuracy(found)
    assert measured.key == "multimodal.accuracy_pairwise_generated[set]"
    assert measured.value == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert (measured.n, measured.chance, measured.headline) == (3, 0.5, True)
    assert measured.outcomes.tolist() == [1, 0.5, 0]
    assert measured.details == {
        "unanswered": pytest.approx(1 / 3),
        "unanswered.refused": pytest.approx(1 / 6),
        "unanswered.several": pytest.approx(1 / 6),
    }
    assert [one.sample for one in measured.misses] == ["2.png", "1.png"]
    assert measured.misses[0].predicted == "(refused)"
    assert not multimodal.accuracy(replace(found, how="likelihood_mean", reasons=())).headline
    always = multimodal.accuracy_in_every_order(found)
    assert (always.key, always.value) == ("multimodal.accuracy_in_every_order_pairwise_generated[set]", 1 / 3)
    assert always.evidence.strata[0].columns["outcome"].tolist() == [True, False, False]


def test_independent_answers_in_many_orders_are_worth_more_than_one():
    rng = np.random.default_rng(0)
    orders = balanced_orders(4)
    truths = np.argsort(orders, axis=1)[:, np.zeros(300, int)].T
    places = np.where(rng.random((300, 4)) < 0.6, truths, (truths + 1) % 4)
    found = multimodal.accuracy(asked(np.zeros(300, int), [range(4)] * 300, places, orders=orders))
    once = wilson(round(found.value * 300), 300)
    assert found.interval.high - found.interval.low == pytest.approx((once.high - once.low) / 2, rel=0.1)


def test_every_order_needs_several():
    found = asked([0, 1], [[0, 1], [1, 0]], [[0], [0]])
    with pytest.raises(MeasurementError, match="2 samples were asked once only; ask in several orders"):
        multimodal.accuracy_in_every_order(found)


def test_more_orders_make_no_more_samples():
    """Orders of one sample are not independent: identical answers leave the interval as wide as with one order."""
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.7
    once = asked(np.zeros(200, int), [[0, 1]] * 200, np.where(right, 0, 1)[:, None])
    places = np.where(right[:, None], [0, 1], [1, 0])
    twice = asked(np.zeros(200, int), [[0, 1]] * 200, places, orders=balanced_orders(2))
    before, after = multimodal.accuracy(once), multimodal.accuracy(twice)
    assert before.interval == wilson(int(right.sum()), 200)
    assert after.value == before.value
    assert after.interval.high - after.interval.low == pytest.approx(
        before.interval.high - before.interval.low, rel=0.01
    )


@pytest.mark.parametrize("size", [2, 4])
def test_a_model_that_guesses_has_the_accuracy_of_chance(size):
    rng = np.random.default_rng(0)
    orders = balanced_orders(size)
    found = [
        multimodal.accuracy(
            asked(
                rng.integers(0, size, 50),
                [range(size)] * 50,
                rng.integers(0, size, (50, len(orders))),
                orders=orders,
                classes=9,
            )
        )
        for _ in range(200)
    ]
    assert {one.chance for one in found} == {1 / size}
    assert np.mean([one.value for one in found]) == pytest.approx(1 / size, abs=0.01)
    assert 0.94 <= np.mean([one.at_chance for one in found]) <= 1


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_position_bias_is_the_share_of_answers_that_ignore_the_image(share):
    """A model that names the truth, except that a share of its answers is always the first place."""
    size, n = 4, 3000
    rng = np.random.default_rng(1)
    orders = balanced_orders(size)
    labels = rng.integers(0, size, n)
    truths = np.argsort(orders, axis=1)[:, labels].T
    places = np.where(rng.random((n, size)) < share, 0, truths)
    found = multimodal.position_bias(asked(labels, [range(size)] * n, places, orders=orders))
    assert found.value == pytest.approx(share * (1 - 1 / size), abs=0.015)
    assert found.interval.low <= share * (1 - 1 / size) <= found.interval.high
    assert found.remark == ("prefers place 1 of 4" if share else "prefers no place")
    assert sum(found.details[f"answers.{i}"] for i in (1, 2, 3, 4)) == pytest.approx(1)
    assert [found.details[f"truths.{i}"] for i in (1, 2, 3, 4)] == pytest.approx([0.25] * 4)


def test_position_bias_does_not_count_missing_answers_as_a_place():
    found = asked([0, 0], [[0, 1]] * 2, [[-1, 1], [0, 1]], orders=balanced_orders(2))
    measured = multimodal.position_bias(found)
    assert measured.details["answers.1"] == pytest.approx(1 / 3)
    assert measured.value == pytest.approx(2 / 3 - 1 / 2)
    with pytest.raises(MeasurementError, match="no answer to any of 4 questions"):
        multimodal.position_bias(replace(found, places=np.full(4, -1)))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=30))
def test_position_bias_is_a_distance_that_follows_from_its_evidence(rows):
    truths, places = np.array(rows).T
    if (places < 0).all():
        return
    orders = np.array([np.roll([0, 1, 2], t) for t in truths])
    found = asked(np.zeros(len(rows), int), np.tile([0, 1, 2], (len(rows), 1)), places)
    found = replace(found, shown=orders)
    assert found.truths.tolist() == truths.tolist()
    measured = multimodal.position_bias(found)
    assert value_from(measured.evidence) == pytest.approx(measured.value)
    assert -1e-12 <= measured.interval.low <= measured.value <= measured.interval.high <= 1 + 1e-12
    moved = multimodal.position_bias(replace(found, shown=2 - found.shown, labels=2 - found.labels))
    assert moved.value == pytest.approx(measured.value)


def test_rates_of_failures_and_refusals():
    reasons = ("letter", "several", "none", "refused", "refused", "empty", "negated", "named")
    places = np.array([0, -1, -1, -1, -1, -1, -1, 1]).reshape(4, 2)
    found = asked([0, 0, 1, 1], [[0, 1]] * 4, places, orders=balanced_orders(2), reasons=reasons)
    failed, refused = multimodal.parse_failures(found), multimodal.refusals(found)
    assert (failed.key, failed.value, failed.direction) == (
        "multimodal.parse_failures_all_way_generated[set]",
        0.5,
        "lower",
    )
    assert (refused.key, refused.value) == ("multimodal.refusals_all_way_generated[set]", 0.25)
    assert failed.outcomes.tolist() == [0.5, 0.5, 0.5, 0.5]
    assert refused.outcomes.tolist() == [0, 0.5, 0.5, 0]
    assert failed.interval.low < 0.5 < failed.interval.high
    assert failed.details["unanswered"] == 0.75
    assert failed.misses[0].predicted.startswith("(")
    for measure in (multimodal.parse_failures, multimodal.refusals):
        with pytest.raises(MeasurementError, match="'likelihood_sum' are not read from text"):
            measure(replace(found, how="likelihood_sum", reasons=()))


def test_a_rate_without_any_failure_has_an_interval():
    found = asked([0, 1], [[0, 1]] * 2, [[0], [1]], reasons=("named",) * 2)
    assert multimodal.refusals(found).value == 0
    assert multimodal.refusals(found).interval.high > 0.5


def pair(n=400, classes=8, seed=0, *, gain=0.0, of_tower=0.7, hard=()):
    """Return an LMM and its tower, which is right with `of_tower`, or 0.3 if `hard`; the LMM is with `gain` more."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    base = np.where(np.isin(labels, hard), 0.3, of_tower)
    added = gain(labels) if callable(gain) else gain
    return tuple(one_way(rng.random(n) < share, labels) for share in (base + added, base))


def test_gain_over_the_tower_by_hand():
    labels = [0, 0, 1, 1, 2, 2]
    lmm = one_way([1, 1, 0, 0, 1, 0], labels)
    tower = one_way([1, 0, 1, 1, 1, 0], labels, how="tower")
    found = tower_gain.gain_over_tower(lmm, tower)
    assert (found.key, found.n) == ("multimodal.gain_over_tower_all_way_generated[set]", 6)
    assert found.value == pytest.approx(-1 / 6)
    assert found.outcomes.tolist() == [0, 1, -1, -1, 0, 0]
    assert found.details["lmm"] == pytest.approx(0.5)
    assert found.details["tower"] == pytest.approx(4 / 6)
    assert [found.details[f"gain.c{i}"] for i in range(3)] == [0.5, -1, 0]
    assert found.remark == "better on 0 of 3 categories, worse on 0"
    of_one = tower_gain.gain_over_tower(lmm, tower, "c1")
    assert (of_one.key, of_one.n, of_one.value) == ("multimodal.gain_over_tower_all_way_generated[set/c1]", 2, -1)
    assert list(of_one.samples) == ["2.png", "3.png"]
    assert of_one.interval.low == -1


def test_the_interval_of_a_gain_is_that_of_the_paired_test():
    lmm, tower = pair(gain=0.1)
    found = tower_gain.gain_over_tower(lmm, tower)
    before, after = (multimodal.accuracy(one) for one in (tower, lmm))
    paired = compare(before.evidence, after.evidence, direction="higher")
    assert found.value == pytest.approx(paired.difference)
    assert found.interval == paired.interval
    fractions = replace(lmm, of_sample=np.tile(lmm.of_sample, 2), shown=np.tile(lmm.shown, (2, 1)),
                        places=np.concatenate([lmm.places, tower.places]))  # fmt: skip
    doubled = replace(tower, of_sample=fractions.of_sample, shown=fractions.shown, places=np.tile(tower.places, 2))
    half = tower_gain.gain_over_tower(fractions, doubled)
    assert half.value == pytest.approx(found.value / 2)
    assert half.interval.method == "Student t"


def test_categories_that_are_better_or_worse_are_named():
    lmm, tower = pair(n=2000, gain=lambda labels: np.select([labels == 1, labels == 2], [0.25, -0.4], 0.0))
    found = tower_gain.gain_over_tower(lmm, tower)
    assert found.remark == "better on 1 of 8 categories (c1), worse on 1 (c2)"
    assert (found.details["categories_better"], found.details["categories_worse"]) == (1, 1)
    equal = [tower_gain.gain_over_tower(*pair(n=800, seed=seed)) for seed in range(40)]
    called = [one.details["categories_better"] + one.details["categories_worse"] > 0 for one in equal]
    assert np.mean(called) < 0.15


@pytest.mark.parametrize(("gained", "better"), [(4, 0), (5, 1)])
def test_a_category_is_better_by_a_two_sided_test(gained, better):
    """Mid-p of k gained samples and no lost one is 2^-(k + 1) on one side: 0.0625 for four, 0.03125 for five."""
    lmm, tower = (asked([0] * 20, [[0, 1]] * 20, [[0]] * n + [[1]] * (20 - n)) for n in (10 + gained, 10))
    found = tower_gain.gain_over_tower(lmm, tower)
    assert (found.details["categories_better"], found.details["categories_worse"]) == (better, 0)
    other = tower_gain.gain_over_tower(tower, lmm)
    assert (other.details["categories_better"], other.details["categories_worse"]) == (0, better)


@pytest.mark.parametrize(
    "change",
    [
        {"samples": ["9.png"] * 400},
        {"labels": np.arange(400) % 8 // 2},
        {"shown": np.tile(np.arange(8)[::-1], (400, 1))},
    ],
)
def test_a_tower_that_was_asked_something_else_is_an_error(change):
    lmm, tower = pair()
    for measure in (tower_gain.gain_over_tower, tower_gain.gain_on_challenging):
        with pytest.raises(MeasurementError, match="were not asked the same questions"):
            measure(lmm, replace(tower, **change))


def test_an_unknown_category_is_an_error():
    lmm, tower = pair()
    with pytest.raises(MeasurementError, match=r"no category 'c11' \(did you mean 'c1'\?\)"):
        tower_gain.gain_over_tower(lmm, tower, "c11")
    wider = [replace(one, class_names=(*one.class_names, "rare")) for one in (lmm, tower)]
    with pytest.raises(MeasurementError, match="no samples of 'rare'"):
        tower_gain.gain_over_tower(*wider, "rare")


def test_the_challenging_quartile_is_that_of_the_tower():
    lmm, tower = pair(n=1600, hard=(2, 5))
    chosen, held_out = tower_gain.challenging_categories(tower)
    assert chosen.tolist() == [2, 5]
    assert held_out.sum() == 800
    found = tower_gain.gain_on_challenging(lmm, tower)
    assert found.key == "multimodal.gain_over_tower_all_way_generated[set/challenging]"
    assert found.remark == "hardest for the tower: c2, c5"
    inside = held_out & np.isin(tower.labels, [2, 5])
    assert found.value == pytest.approx((lmm.shares - tower.shares)[inside].mean())
    assert found.n == inside.sum()
    rest = tower_gain.gain_on_challenging(lmm, tower, others=True)
    outside = held_out & ~np.isin(tower.labels, [2, 5])
    assert rest.value == pytest.approx((lmm.shares - tower.shares)[outside].mean())
    assert (rest.subset, rest.n, rest.details["categories"]) == ("others", outside.sum(), 6)


def test_equally_hard_categories_are_chosen_by_position_and_a_quarter_is_rounded_up():
    labels = np.arange(100) % 5
    chosen, _ = tower_gain.challenging_categories(one_way(np.ones(100), labels))
    assert chosen.tolist() == [0, 1]
    with pytest.raises(MeasurementError, match="3 categories have samples in both halves"):
        tower_gain.challenging_categories(one_way(np.ones(60), np.arange(60) % 3))


def test_the_choice_on_one_half_does_not_regress_to_the_mean():
    """An LMM that equals its tower in skill gains where the tower had bad luck, unless the halves are apart."""
    naive, held_out = [], []
    for seed in range(150):
        lmm, tower = pair(n=160, classes=16, seed=seed)
        gains = lmm.shares - tower.shares
        of_class = np.array([tower.shares[tower.labels == i].mean() for i in range(16)])
        naive.append(gains[np.isin(tower.labels, np.argsort(of_class, kind="stable")[:4])].mean())
        held_out.append(tower_gain.gain_on_challenging(lmm, tower).value)
    assert np.mean(naive) > 0.12
    assert abs(np.mean(held_out)) < 4 * np.std(held_out) / 150**0.5
    assert abs(np.mean(held_out)) < 0.04


def test_the_interval_of_the_challenging_gain_covers_the_true_one():
    covered = []
    for seed in range(150):
        lmm, tower = pair(
            n=800, seed=seed, hard=(0, 4), gain=lambda labels: np.where(np.isin(labels, (0, 4)), 0.2, 0.0)
        )
        interval = tower_gain.gain_on_challenging(lmm, tower).interval
        covered.append(interval.low <= 0.2 <= interval.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def where(hard, easy):
    return lambda labels: np.where(np.isin(labels, (0, 4)), hard, easy)


@pytest.mark.parametrize(
    ("hard", "easy", "verdict"),
    [(0.3, -0.1, "holds"), (0.3, 0.0, "holds"), (0.2, 0.2, "contradicted"), (-0.2, 0.0, "contradicted"),
     (-0.2, -0.2, "contradicted"), (0.0, 0.0, "undecided"), (0.0, -0.3, "undecided")],
)  # fmt: skip
def test_the_finding_is_decided_by_both_parts(hard, easy, verdict):
    lmm, tower = pair(n=4000, hard=(0, 4), gain=where(hard, easy), seed=3)
    found = tower_gain.beats_tower_only_where_weak(lmm, tower)
    assert found.verdict == verdict
    assert found.statement.startswith(f"the LMM beats its tower only where the tower is weak: {verdict}; gain ")
    assert f"{found.challenging.value:+.3f}" in found.statement
    assert found.difference.low < found.challenging.value - found.others.value < found.difference.high


def test_equal_models_do_not_decide_the_finding():
    verdicts = [tower_gain.beats_tower_only_where_weak(*pair(n=400, seed=seed)).verdict for seed in range(60)]
    assert np.mean([one == "undecided" for one in verdicts]) > 0.85
    assert np.mean([one == "holds" for one in verdicts]) < 0.1


def test_the_gain_on_a_part_is_that_of_its_samples_alone():
    labels = [0, 0, 1, 1, 2, 2]
    lmm, tower = one_way([1, 1, 0, 0, 1, 0], labels), one_way([1, 0, 1, 1, 1, 0], labels, how="tower")
    inside = np.array([True, True, False, False, True, False])
    found = tower_gain.gain_on_part(lmm.part(inside), tower.part(inside), "pose")
    assert (found.key, found.n) == ("multimodal.gain_over_tower_all_way_generated[set/pose]", 3)
    assert found.value == pytest.approx(1 / 3)
    assert (found.details["lmm"], found.details["tower"]) == (1, pytest.approx(2 / 3))
    whole = tower_gain.gain_over_tower(lmm, tower)
    assert tower_gain.gain_on_part(lmm, tower, "all").interval == whole.interval
    with pytest.raises(MeasurementError):
        tower_gain.gain_on_part(lmm, tower.part(inside), "pose")


def test_how_much_more_an_lmm_gains_where_its_tower_is_weak():
    lmm, tower = pair(4000, gain=where(0.3, -0.1), hard=(0, 4))
    found = tower_gain.gain_where_weak(lmm, tower)
    weak, rest = (tower_gain.gain_on_challenging(lmm, tower, others=others) for others in (False, True))
    assert found.key == "multimodal.gain_where_weak_all_way_generated[set]"
    assert found.value == pytest.approx(weak.value - rest.value)
    assert found.value == pytest.approx(0.4, abs=0.1)
    assert found.interval.low < found.value < found.interval.high
    assert found.interval == tower_gain.beats_tower_only_where_weak(lmm, tower).difference
    assert "holds" in found.remark


def test_an_lmm_that_is_its_tower_gains_as_much_everywhere():
    _, tower = pair()
    found = tower_gain.gain_where_weak(tower, tower)
    assert found.value == 0
    assert found.interval.low <= 0 <= found.interval.high
    assert "holds" not in found.remark


def two_models(seed):
    rng = np.random.default_rng(seed)
    found = []
    for skill in (0.4, 0.6):
        labels = np.arange(120) % 4
        orders = balanced_orders(4)
        truths = np.argsort(orders, axis=1)[:, labels].T
        known = rng.random((120, 4)) < skill
        places = np.where(known, truths, rng.integers(-1, 2, (120, 4)))
        reasons = np.where(places < 0, np.where(rng.random((120, 4)) < 0.5, "refused", "none"), "letter").ravel()
        found.append(asked(labels, [range(4)] * 120, places, orders=orders, reasons=tuple(reasons.tolist())))
    return found


COMPARED = {
    "accuracy": lambda one, tower: multimodal.accuracy(one),
    "every order": lambda one, tower: multimodal.accuracy_in_every_order(one),
    "position bias": lambda one, tower: multimodal.position_bias(one),
    "failures": lambda one, tower: multimodal.parse_failures(one),
    "refusals": lambda one, tower: multimodal.refusals(one),
    "gain": tower_gain.gain_over_tower,
    "challenging": tower_gain.gain_on_challenging,
    "others": lambda one, tower: tower_gain.gain_on_challenging(one, tower, others=True),
}


@pytest.mark.parametrize("name", COMPARED)
def test_two_checkpoints_are_compared_on_the_same_samples(name):
    models, tower = two_models(0), two_models(1)[0]
    before, after = (COMPARED[name](one, tower) for one in models)
    change = after.value - before.value
    found = compare(before.evidence, after.evidence, direction=after.direction, difference=change)
    assert found.difference == pytest.approx(change, abs=1e-6)
    assert found.interval.low <= change <= found.interval.high
    assert found.error > 0
    if after.evidence.test == "sums":
        assert value_from(after.evidence) == pytest.approx(after.value, abs=1e-6)
    else:
        assert after.evidence.strata[0].columns["outcome"].mean() == pytest.approx(after.value, abs=1e-6)


def test_another_tower_does_not_change_the_samples_of_the_evidence():
    lmm, tower = pair(n=400, hard=(2, 5))
    other = pair(n=400, hard=(1, 3), seed=4)[1]
    before, after = (tower_gain.gain_on_challenging(lmm, one).evidence for one in (tower, other))
    assert before.shape() == after.shape()
    compare(before, after, direction="higher")


def test_imagenet_d_drops_what_is_ambiguous():
    texts = ["A can opener.", "I see a pen, or a plate.", "a house", "not a Pen", "the television"]
    names = ("can opener", "pen", "plate", "tv")
    labels = np.array([0, 1, 1, 1, 3])
    shown = np.array([[0, 1], [1, 2], [1, 2], [1, 2], [3, 2]])
    found = asked(labels, shown, np.zeros(5, int), class_names=names, texts=texts)
    measured = lmm_protocols.imagenet_d_accuracy(found, synonyms={"tv": ["television"]})
    assert (measured.metric, measured.value, measured.n) == ("multimodal.accuracy_imagenet_d_protocol", 1, 3)
    assert measured.details == {"dropped": 0.4, "accuracy_dropped_as_wrong": 0.6}
    assert list(measured.samples) == ["0.png", "3.png", "4.png"]
    assert lmm_protocols.imagenet_d_accuracy(found).n == 2
    last = replace(found, shown=found.shown[:, ::-1])
    with pytest.raises(MeasurementError, match="asks once per sample between two names, the true one first"):
        lmm_protocols.imagenet_d_accuracy(last)
    with pytest.raises(MeasurementError, match="drops all of 5 samples"):
        lmm_protocols.imagenet_d_accuracy(replace(found, texts=["?"] * 5))


def test_imagenet_d_calls_a_model_that_ignores_the_image_perfect():
    """The reason for balanced orders: the first place is always right by the protocol, and here half of the time."""
    shown = np.array([[i % 4, (i + 1) % 4] for i in range(40)])
    names = ("dog", "cat", "bird", "fish")
    texts = [names[first] for first, _ in shown]
    found = asked(shown[:, 0], shown, np.zeros(40, int), class_names=names, texts=texts)
    assert lmm_protocols.imagenet_d_accuracy(found).value == 1
    balanced = asked(shown[:, 0], shown, np.zeros((40, 2), int), orders=balanced_orders(2), class_names=names)
    assert multimodal.accuracy(balanced).value == 0.5
    assert multimodal.position_bias(balanced).value == 0.5
    assert multimodal.accuracy_in_every_order(balanced).value == 0


def test_published_rules_of_reading():
    texts = ["Ashtray", "a dog, a cat", "b", " B", "catalogue"]
    labels = [0, 1, 1, 1, 1]
    found = asked(labels, [[0, 1]] * 5, np.zeros(5, int), class_names=("dog", "cat"), texts=texts)
    letters = lmm_protocols.first_letter_accuracy(found, "AB")
    assert (letters.metric, letters.value) == ("multimodal.accuracy_all_way_first_letter", 2 / 5)
    assert letters.outcomes.tolist() == [1, 0, 1, 0, 0]
    assert letters.details == {"failures": 2 / 5}
    labels = lmm_protocols.label_substring_accuracy(found)
    assert (labels.metric, labels.value) == ("multimodal.accuracy_all_way_label_substring", 2 / 5)
    assert labels.outcomes.tolist() == [0, 1, 0, 0, 1]
    with pytest.raises(MeasurementError, match="3 marks for 2 places"):
        lmm_protocols.first_letter_accuracy(found, "ABC")


def test_published_protocols_need_one_text_per_sample():
    found = asked([0, 1], [[0, 1]] * 2, [[0], [0]])
    for measure in (lmm_protocols.imagenet_d_accuracy, lmm_protocols.label_substring_accuracy):
        with pytest.raises(MeasurementError, match="reads free text"):
            measure(found)
    twice = asked([0, 1], [[0, 1]] * 2, [[0, 0]] * 2, orders=balanced_orders(2), texts=["A"] * 4)
    for measure in (lmm_protocols.label_substring_accuracy, lambda one: lmm_protocols.first_letter_accuracy(one, "AB")):
        with pytest.raises(MeasurementError, match="asks once per sample"):
            measure(twice)


def sugarcrepe(shared, kinds=KINDS):
    """Return GPT-4V's choices between the captions of SugarCrepe, as its authors read them, in both orders."""
    places, samples = [], []
    for kind in kinds:
        orders = [
            json.loads((shared / f"golden/lmm/sugarcrepe_gpt4v/{order}-first.{kind}.json").read_text("utf-8"))
            for order in ("positive", "negative")
        ]
        for item, first in orders[0].items():
            if not isinstance(first, dict):
                continue
            samples.append(f"{kind}/{item}")
            for place, entry in enumerate((first, orders[1][item])):
                named = [entry["caption"], entry["negative_caption"]]
                answer = entry["answer"]["multiple_choice_answer"]
                places.append((named.index(answer) != place) * 1 if answer in named else -1)
    captions = np.tile([0, 1], (len(samples), 1))
    return asked(np.zeros(len(samples), int), captions, places, orders=balanced_orders(2), samples=samples)


def test_gpt4v_on_sugarcrepe_in_both_orders(shared):
    """The published accuracies by order, and of items that are right in both (github.com/RAIVNLab/sugar-crepe)."""
    found = sugarcrepe(shared)
    assert len(found) == 7512
    by_order = found.right.reshape(-1, 2).mean(axis=0)
    assert by_order.round(4).tolist() == [0.9096, 0.9341]
    assert multimodal.accuracy(found).value == pytest.approx(by_order.mean())
    both = multimodal.accuracy_in_every_order(found)
    assert round(both.value, 4) == 0.8757
    bias = multimodal.position_bias(found)
    # The truth is named more often in the second place, so the second place is preferred.
    assert bias.remark == "prefers place 2 of 2"
    assert 0.005 < bias.interval.low < bias.value < bias.interval.high < 0.03


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("add_att", (0.8728, 0.9624, 0.8584)),
        ("replace_rel", (0.8819, 0.9232, 0.8471)),
        ("swap_obj", (0.8577, 0.8049, 0.7398)),
    ],
)
def test_gpt4v_on_kinds_of_sugarcrepe(shared, kind, expected):
    found = sugarcrepe(shared, [kind])
    by_order = found.right.reshape(-1, 2).mean(axis=0)
    assert (*by_order.round(4), round(multimodal.accuracy_in_every_order(found).value, 4)) == expected


def test_llavar_on_colorswap_answers_a():
    """Of 532 answers with a letter, 528 are A; the truth is A 305 times of 600 (github.com/Top34051/colorswap)."""
    places = np.repeat([0, 1, -1], [528, 4, 68])
    truth_first = np.random.default_rng(0).permutation(600) < 305
    shown = np.where(truth_first[:, None], [0, 1], [1, 0])
    found = multimodal.position_bias(replace(asked(np.zeros(600, int), shown, places), shown=shown))
    assert found.value == pytest.approx(528 / 532 - 305 / 600)
    assert found.interval.low > 0.4
    assert found.remark == "prefers place 1 of 2"


def foci(shared):
    """Read FOCI's tables: accuracies of LLaVA-1.5-7B and of its tower, and the shares of LLaVA's letters."""
    folder = shared / "golden/lmm/foci"
    with (folder / "foci_lmm_4way.csv").open() as lmms, (folder / "foci_clip.csv").open() as towers:
        llava = {row["dataset"]: row for row in csv.DictReader(lmms) if row["model"] == "llava-hf_llava-1.5-7b-hf"}
        clip = {row["dataset"]: row for row in csv.DictReader(towers) if row["model"] == "ViT-L-14-336-openai"}
    for dataset, row in llava.items():
        letters = [int(share) for share in re.findall(r"\d+", row["answers_A_B_C_D_pct"])]
        yield dataset, float(row["accuracy_pct"]) / 100, float(clip[dataset]["accuracy_4way_pct"]) / 100, letters


def test_llava_is_below_its_tower_on_all_imagenet_sets(shared):
    """FOCI's published accuracies, as choices of 10,000 samples with these shares."""
    n, rank = 10_000, np.random.default_rng(0).permutation(10_000)
    gains = {}
    for dataset, of_lmm, of_tower, _ in foci(shared):
        candidates = np.tile(np.arange(4), (n, 1))
        lmm = asked(np.zeros(n, int), candidates, (np.arange(n) >= round(of_lmm * n)) * 1, classes=20)
        tower = replace(lmm, places=(rank >= round(of_tower * n)) * 1)
        gains[dataset] = tower_gain.gain_over_tower(lmm, tower)
    published = {
        "imagenet": -0.1499,
        "imagenet-adversarial": -0.1098,
        "imagenet-rendition": -0.1010,
        "imagenet-sketch": -0.0894,
    }
    for dataset, expected in published.items():
        found = gains[dataset]
        assert found.metric == "multimodal.gain_over_tower_4_way_generated"
        assert found.value == pytest.approx(expected, abs=1e-9)
        assert found.interval.high < 0
    assert len(gains) == 14
    assert all(one.value < 0 for one in gains.values())


def test_letters_of_llava_show_its_preferences(shared):
    """FOCI's histograms of answer letters: A is preferred on aircraft and cars, and no letter on ImageNet."""
    bias = {}
    for dataset, *_, letters in foci(shared):
        places = np.repeat(np.arange(4), letters)
        shown = (np.arange(4) - (np.arange(len(places)) % 4)[:, None]) % 4
        bias[dataset] = multimodal.position_bias(asked(np.zeros(len(places), int), shown, places, classes=20))
        shares = [bias[dataset].details[f"answers.{i}"] for i in (1, 2, 3, 4)]
        assert shares == pytest.approx(np.array(letters) / sum(letters))
    assert bias["stanford_cars"].value == pytest.approx(58 / 99 - 0.25, abs=0.01)
    assert bias["fgvc_aircraft"].value == pytest.approx(43 / 98 - 0.25, abs=0.01)
    assert bias["stanford_cars"].remark == "prefers place 1 of 4"
    assert bias["imagenet"].value < 0.05
    assert max(bias, key=lambda dataset: bias[dataset].value) == "stanford_cars"
