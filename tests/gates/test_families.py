"""The decision at the end of a run: on all p-values, in two families per model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import mean_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.gates import Threshold, baseline_from, change_since, decide, is_undecided, judge
from pytest_clip_robust.gates.families import shares_of
from pytest_clip_robust.gates.record import record_error, record_judgement

N = 1000
OPTIONS = {"alpha": 0.05, "headline_share": 0.5, "strict": False}


def measured(right, *, headline, tolerance=0.01):
    return Measurement(
        metric="zero_shot.top1",
        value=float(right.mean()),
        n=N,
        interval=Interval(0.5, 0.9, 0.95, "Wilson"),
        direction="higher",
        tolerance=tolerance,
        headline=headline,
        dataset="photos",
        evidence=mean_evidence("photos", right),
    )


def gate(lost, gained=0, *, headline=False, model="m", threshold=None, tolerance=0.01):
    """The record of a gate that lost and gained so many of 1,000 answers."""
    before = np.arange(N) < 700
    after = before.copy()
    after[:lost], after[700 : 700 + gained] = False, True
    new = measured(after, headline=headline, tolerance=tolerance)
    change = change_since(
        new, baseline_from(measured(before, headline=headline), name="b"), alpha=0.05, decided_at_end=True
    )
    judgement = judge(new, threshold, change)
    return record_judgement(judgement, model=model, failed=judgement.verdict.fails(strict=False))


def verdicts(records, **options):
    return [record["verdict"] for record in decide(records, **(OPTIONS | options))]


QUIET = [gate(20, 20) for _ in range(60)]
LOSS = (33, 17)
"""A loss of 1.6 points, with a p-value between 0.01 and 0.02."""


def test_a_loss_among_few_gates_is_called_and_among_many_is_not():
    assert verdicts([gate(*LOSS)]) == ["regressed"]
    assert verdicts([gate(*LOSS), *QUIET])[0] == "inconclusive"


def test_details_do_not_hide_a_loss_of_a_headline():
    assert verdicts([gate(*LOSS, headline=True), *QUIET])[0] == "regressed"
    assert verdicts([gate(*LOSS, headline=True), *QUIET], headline_share=0.2)[0] == "inconclusive"


def test_many_losses_support_each_other():
    losses = [gate(36, 16) for _ in range(20)]
    assert verdicts([*losses, *QUIET])[:20] == ["regressed"] * 20
    assert verdicts([losses[0], *QUIET])[0] == "inconclusive"


def test_improvements_are_decided_like_losses():
    assert verdicts([gate(16, 36)]) == ["improved"]
    assert verdicts([gate(16, 36), *QUIET])[0] == "passed"


def test_losses_below_their_tolerance_support_nobody():
    """Each of them is significant, and none is called; counting them would call the other one."""
    small = [gate(9, 0) for _ in range(30)]
    assert verdicts([gate(33, 17), *small])[0] == "inconclusive"


def test_every_decided_gate_has_its_adjusted_p_and_what_it_can_detect():
    first, second = decide([gate(*LOSS, headline=True), gate(20, 20)], **OPTIONS)
    p = first["change"]["p_worse"]
    assert first["change"]["p_adjusted"] == pytest.approx(p / 0.5)
    assert first["change"]["alpha"] == 0.05
    assert second["change"]["p_adjusted"] == 1.0
    assert first["change"]["minimum_detectable_effect"] > 0.01
    assert first["change"]["samples_needed"] > N
    assert f"adjusted for all headline gates {p / 0.5:.2g}, significant at 0.05 or less" in first["message"]
    assert second["message"] == ""


def test_models_share_alpha_and_do_not_depend_on_each_others_losses():
    alone = verdicts([gate(38, 17, model="a"), *(gate(20, 20, model="b") for _ in range(50))])
    disaster = verdicts([gate(38, 17, model="a"), *(gate(400, 0, model="b") for _ in range(50))])
    assert alone[0] == disaster[0] == "regressed"
    assert verdicts([gate(*LOSS, model="a"), gate(0, model="b")])[0] == "regressed"
    assert verdicts([gate(*LOSS, model="a"), *(gate(0, model=name) for name in "bcdefg")])[0] == "inconclusive"


def test_a_test_that_failed_by_itself_keeps_its_verdict_and_gets_its_trend():
    (found,) = decide([gate(100, threshold=Threshold(at_least=0.9))], **OPTIONS)
    assert (found["verdict"], found["failed"], found["change"]["trend"]) == ("below_threshold", True, "worse")
    assert found["message"].startswith("zero_shot.top1[photos] = 0.6000 is worse than 0.7000 of b and is below")


def test_what_was_not_compared_stays_as_it_is():
    records = [
        record_error("no weights", model="m", measurement="test_a"),
        record_judgement(judge(measured(np.ones(N, bool), headline=True), None), model="m"),
    ]
    assert decide(records, **OPTIONS) == records


def test_where_it_is_strict_an_undecided_loss_that_is_not_confirmed_fails():
    (found, *_) = decide([gate(*LOSS), *QUIET], **(OPTIONS | {"strict": True}))
    assert (found["verdict"], found["failed"]) == ("inconclusive", True)
    assert ", but not significantly" in found["message"]


GATES = st.lists(
    st.builds(
        gate,
        st.integers(0, 60),
        st.integers(0, 60),
        headline=st.booleans(),
        model=st.sampled_from("ab"),
        tolerance=st.sampled_from([0.0, 0.01, 0.03]),
    ),
    min_size=1,
    max_size=12,
)


@given(GATES)
def test_only_undecided_gates_change_their_verdict_and_none_stays_undecided(records):
    decided = decide(records, **OPTIONS)
    for before, after in zip(records, decided, strict=True):
        assert after["verdict"] == before["verdict"] or is_undecided(before)
        assert not is_undecided(after)
        assert after["change"]["p_adjusted"] >= min(before["change"]["p_worse"], before["change"]["p_better"]) - 1e-12


@given(GATES, st.randoms())
def test_the_order_of_tests_does_not_matter(records, random):
    order = list(range(len(records)))
    random.shuffle(order)
    decided, shuffled = decide(records, **OPTIONS), decide([records[i] for i in order], **OPTIONS)
    assert [decided[i]["verdict"] for i in order] == [one["verdict"] for one in shuffled]


@given(GATES)
def test_deciding_twice_changes_nothing(records):
    once = decide(records, **OPTIONS)
    assert decide(once, **OPTIONS) == once


@given(st.sets(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1), st.floats(0.01, 0.99))
def test_the_shares_of_all_families_are_the_whole(families, share):
    found = shares_of(families, headline_share=share)
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0
