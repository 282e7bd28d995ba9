"""Comparison with a baseline: trends, tolerances, what cannot be compared, and the samples behind a loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_clip_robust.core.evidence import Evidence, SampleInfo, Stratum, coarse_confidence
from pytest_clip_robust.core.measurement import Measurement, Provenance
from pytest_clip_robust.core.plain import NotNegative, read_value
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import (
    Threshold,
    Trend,
    Verdict,
    baseline_from,
    change_since,
    explain,
    find_tolerance,
    is_undecided,
    judge,
)
from pytest_clip_robust.gates.baseline_files import columns_of
from pytest_clip_robust.gates.record import junit_properties, record_judgement
from pytest_clip_robust.gates.regression import evidence_from, incompatibilities
from pytest_clip_robust.properties import ood
from pytest_clip_robust.scoring.ood_scores import Scores
from pytest_clip_robust.stats.intervals import wilson

N = 1000


def measurement(
    right, *, confidence=None, answers=None, direction="higher", metric="zero_shot.top1", tolerance=0.01, **origin
):
    right = np.asarray(right)
    columns = {
        "outcome": right,
        "confidence": coarse_confidence(np.where(right, 0.9, 0.1) if confidence is None else confidence),
        "answer": (np.where(right, 0, 1) if answers is None else answers).astype(np.int32),
    }
    known = SampleInfo(
        samples=[f"{i}.jpg" for i in range(len(right))],
        labels=np.zeros(len(right), np.int64),
        class_names=("cat", "dog\x1b", "cow"),
    )
    return Measurement(
        metric=metric,
        value=float(right.mean()),
        n=len(right),
        interval=wilson(int(right.sum()), len(right)),
        direction=direction,
        tolerance=tolerance,
        headline=True,
        dataset="photos",
        evidence=Evidence(test="mean", strata=(Stratum(name="photos", columns=columns),), sample_info=known),
        provenance=Provenance(**({"data": "d1", "prompts": "p1", "precision": "fp32", "preprocess": "r1"} | origin)),
    )


def flipped(lost, gained=0):
    """A model that loses `lost` answers and gains `gained` on a model that has 700 of 1,000."""
    right = np.arange(N) < 700
    right[:lost] = False
    right[700 : 700 + gained] = True
    return right


def explained(judgement):
    return explain(record_judgement(judgement, model="m"))


def detectable(found):
    return found.power.minimum_detectable_effect(found.alpha)


def change(lost, gained=0, *, tolerance=0.01, alpha=0.05, direction="higher"):
    before = baseline_from(measurement(flipped(0), direction=direction), name="baseline b")
    after = measurement(flipped(lost, gained), direction=direction, tolerance=tolerance)
    return change_since(after, before, alpha=alpha)


@pytest.mark.parametrize(
    ("lost", "gained", "trend"),
    [
        (0, 0, Trend.SAME),
        (9, 0, Trend.SAME),  # significant, and within the tolerance
        (10, 0, Trend.WORSE),
        (60, 50, Trend.UNCLEAR),
        (40, 0, Trend.WORSE),
        (0, 10, Trend.BETTER),
        (50, 60, Trend.SAME),
    ],
)
def test_a_loss_must_reach_the_tolerance_and_leave_chance_behind(lost, gained, trend):
    assert change(lost, gained).trend is trend


@pytest.mark.parametrize(
    ("lost", "gained", "trend"),
    [
        (0, 0, Trend.SAME),
        (60, 50, Trend.UNCLEAR),
        (40, 0, Trend.UNDECIDED),
        (0, 40, Trend.UNDECIDED),
        (9, 0, Trend.SAME),
    ],
)
def test_a_significant_change_waits_for_the_other_gates(lost, gained, trend):
    found = replace(change(lost, gained), decided_at_end=True)
    assert found.trend is trend
    record = record_judgement(judge(measurement(flipped(lost, gained)), None, found), model="m")
    assert record["verdict"] == ("inconclusive" if trend is Trend.UNCLEAR else "passed")
    assert is_undecided(record) == (trend is Trend.UNDECIDED)
    assert record["change"]["minimum_detectable_effect"] is None
    assert not any(value is None for _, value in junit_properties(record))


def test_a_failure_that_waits_says_so():
    found = replace(change(40), decided_at_end=True)
    text = explained(judge(measurement(flipped(40)), Threshold(at_least=0.9), found))
    assert "judged with the other gates at the end of the run" in text
    assert "is worse" not in text


def test_the_direction_turns_everything():
    assert change(40, direction="lower").trend is Trend.BETTER
    assert change(0, 40, direction="lower").trend is Trend.WORSE


def test_more_gates_ask_for_more_certainty():
    assert change(20, 8, alpha=0.05).trend is Trend.WORSE
    assert change(20, 8, alpha=0.05 / 100).trend is Trend.UNCLEAR


def test_a_tolerance_of_zero_still_needs_a_loss():
    assert change(0, 0, tolerance=0.0).trend is Trend.SAME
    assert change(1, 0, tolerance=0.0).trend is Trend.UNCLEAR


def test_verdicts_follow_trends_and_the_more_urgent_counts():
    after = measurement(flipped(40))
    assert judge(after, None, change(40)).verdict is Verdict.REGRESSED
    assert judge(after, Threshold(at_least=0.9), change(40)).verdict is Verdict.REGRESSED
    assert judge(after, Threshold(at_least=0.9), change(60, 50)).verdict is Verdict.BELOW_THRESHOLD
    assert judge(after, Threshold(at_least=0.1), change(60, 50)).verdict is Verdict.INCONCLUSIVE
    assert judge(after, None, change(0, 40)).verdict is Verdict.IMPROVED
    assert judge(after, None, change(0)).verdict is Verdict.PASSED


def test_flips_come_with_the_largest_loss_of_confidence_first():
    confidence = np.where(flipped(3), 0.9, 0.1)
    confidence[:3] = [0.5, 0.0, 0.2]
    answers = np.where(flipped(3), 0, 1)
    answers[1] = 2
    after = measurement(flipped(3), confidence=confidence, answers=answers)
    found = change_since(after, baseline_from(measurement(flipped(0)), name="b"), alpha=0.05)
    assert [flip.sample for flip in found.flips] == ["1.jpg", "2.jpg", "0.jpg"]
    assert (found.flips[0].before, found.flips[0].after, found.flips[0].truth) == ("cat", "cow", "cat")
    assert found.flips[0].confidence_before == pytest.approx(0.9, abs=0.002)
    assert len(change(40).flips) == 10


def test_the_explanation_says_all_that_a_decision_needs():
    text = explained(judge(measurement(flipped(40)), Threshold(at_least=0.9, source="profile"), change(40)))
    lines = text.splitlines()
    assert lines[0] == (
        "zero_shot.top1[photos] = 0.6600 is worse than 0.7000 of baseline b and is below its threshold 0.9000"
    )
    assert "  baseline    0.7000 (baseline b)" in lines
    assert "  difference  -0.0400, -0.0524 to -0.0275 (95% Bonett-Price)" in lines
    assert "  p           4.5e-13 (McNemar, mid-p), significant at 0.05 or less" in lines
    assert any(line.startswith("  tolerance   0.01; smallest detectable loss 0.0") for line in lines)
    assert "  correct before, wrong now; largest loss of confidence in the true class first:" in lines
    assert "    0.jpg  true cat  before cat ( 90%)  now dog\\x1b ( 10%)" in lines


def test_too_few_samples_for_the_tolerance_are_reported():
    text = explained(judge(measurement(flipped(60, 50)), None, change(60, 50, alpha=0.001)))
    assert "is worse than 0.7000 of baseline b, but not significantly" in text
    assert "too few samples to detect a loss of the size of the tolerance" in text


def test_without_outcomes_the_intervals_are_compared():
    before = replace(baseline_from(measurement(flipped(0)), name="b"), evidence=None)
    found = change_since(measurement(flipped(40)), before, alpha=0.05)
    assert found.comparison.method == "unpaired intervals"
    assert found.flips == ()
    assert detectable(found) > detectable(change(40))


@pytest.mark.parametrize("field", ["data", "prompts", "precision", "preprocess"])
def test_what_was_measured_otherwise_is_spelled_out(field):
    baseline = baseline_from(measurement(flipped(0)), name="b")
    other = measurement(flipped(0), **{field: "x9"})
    (difference,) = incompatibilities(baseline, other)
    assert difference.startswith(f"{field} was {getattr(baseline.provenance, field)}")
    assert "is x9" in difference
    assert incompatibilities(baseline, measurement(flipped(0), weights="others")) == []


def test_different_models_can_preprocess_differently():
    baseline = baseline_from(measurement(flipped(0)), name="b")
    assert incompatibilities(baseline, measurement(flipped(0), preprocess="r2"), across_models=True) == []
    assert incompatibilities(baseline, measurement(flipped(0), data="d2"), across_models=True)


def test_stored_columns_make_evidence_again_and_others_do_not():
    today = measurement(flipped(0))
    stored = columns_of(measurement(flipped(5)).evidence)
    evidence = evidence_from(today, stored)
    assert evidence.strata[0].columns["outcome"].sum() == 695
    assert evidence_from(today, stored[:-1]) is None
    assert evidence_from(today, [(s, n, v[:-1]) for s, n, v in stored]) is None


def test_the_record_of_a_change_is_flat_for_junit():
    record = record_judgement(judge(measurement(flipped(40)), None, change(40)), model="m", failed=True)
    assert record["change"]["minimum_detectable_effect"] > 0
    assert len(record["change"]["flips"]) == 10
    properties = dict(junit_properties(record))
    assert properties["clip_change_difference"] == pytest.approx(-0.04)
    assert properties["clip_failed"] is True
    assert not {"clip_change_flips", "clip_change_plot"} & set(properties)


def test_a_change_has_the_plot_of_a_reference_and_of_stored_evidence():
    rng = np.random.default_rng(0)
    before, after = (
        ood.measure(scores(rng.normal(1, 1, 30), "id"), scores(rng.normal(0, 1, 20), "ood"), "auroc") for _ in range(2)
    )
    stored = evidence_from(after, columns_of(before.evidence))
    for plot in (baseline_from(before, name="b").plot, stored.drawn()):
        baseline = replace(baseline_from(before, name="b"), plot=plot)
        found = record_judgement(judge(after, None, change_since(after, baseline, alpha=0.05)), model="m")
        assert set(found["change"]["plot"]) == set(found["plot"])
        for name, column in before.plot.items():
            assert found["change"]["plot"][name] == pytest.approx(column.tolist(), abs=1e-6)
    assert evidence_from(measurement(flipped(0)), columns_of(measurement(flipped(5)).evidence)).drawn() == {}


def test_the_most_specific_tolerance_counts():
    found = measurement(flipped(0))
    assert find_tolerance(found, {}) == 0.01
    assert find_tolerance(found, {"zero_shot.top1": 0.2, "zero_shot.top1[photos]": 0.3}) == 0.3
    assert find_tolerance(measurement(flipped(0), tolerance=1.0), {"shift.top1": 0.2}) == 1.0


@pytest.mark.parametrize("value", [-0.1, "0.1", True, float("nan"), float("inf"), None])
def test_a_tolerance_is_a_number_of_at_least_0(value):
    with pytest.raises(ConfigError, match=r"^tolerances\.m="):
        read_value(NotNegative, value, where="tolerances.m")


def scores(values, name):
    return Scores(dataset=name, score="mcm", values=np.asarray(values, float))


def test_an_auroc_that_falls_from_1_to_0_regressed():
    """Every pair changes alike, so the paired error is 0 and the intervals decide."""
    high, low = np.linspace(0.6, 0.9, 30), np.linspace(0.1, 0.4, 30)
    before = ood.measure(scores(high, "id"), scores(low, "ood"), "auroc")
    after = ood.measure(scores(low, "id"), scores(high, "ood"), "auroc")
    assert (before.value, after.value) == (1.0, 0.0)

    found = change_since(after, baseline_from(before, name="b"), alpha=0.001)

    assert found.trend is Trend.WORSE
    assert found.comparison.method == "unpaired intervals"
    assert change_since(before, baseline_from(before, name="b"), alpha=0.001).trend is Trend.SAME
