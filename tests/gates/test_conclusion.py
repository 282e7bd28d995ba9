"""The sentence that closes a run, and the aspects behind it."""

from __future__ import annotations

import pytest

from pytest_clip_robust.gates import Verdict, conclude
from pytest_clip_robust.gates.record import record_error


def gate(
    name,
    *,
    trend="same",
    verdict=None,
    difference=0.0,
    p=0.5,
    headline=True,
    model="m",
    compared=True,
    threshold=None,
    detectable=0.005,
    needed=900,
    chance=False,
    failed=None,
):
    metric, dataset = name.removesuffix("]").split("[")
    verdict = verdict or {"worse": "regressed", "unclear": "inconclusive", "better": "improved"}.get(trend, "passed")
    change = {
        "value": 0.7,
        "difference": difference,
        "p_worse": p,
        "p_better": 1 - p,
        "tolerance": 0.01,
        "trend": trend,
        "minimum_detectable_effect": detectable,
        "samples_needed": needed,
    }
    return {
        "verdict": verdict,
        "failed": Verdict(verdict).fails(strict=False) if failed is None else failed,
        "model": model,
        "measurement": name,
        "metric": metric,
        "dataset": dataset,
        "value": 0.7 + difference,
        "n": 100,
        "headline": headline,
        "threshold": threshold,
        "at_chance": chance,
        "change": change if compared else None,
    }


def sentence(*records, **options):
    (one,) = conclude(records, **options)
    return one["sentence"]


def test_a_run_without_losses_is_ready():
    assert sentence(gate("shift.top1[a]"), gate("ood.auroc_mcm[b]")) == "ready: 0 of 2 aspects got worse"
    assert sentence(gate("shift.top1[a]")) == "ready: 0 of 1 aspect got worse"


def test_losses_that_can_be_noise_are_counted():
    losses = [gate(f"shift.top1[{name}]", trend="unclear") for name in "ab"]
    assert sentence(*losses) == "ready: 0 of 1 aspect got worse; 2 losses of at least the tolerance can be noise"


def test_losses_are_named_by_aspect_with_their_most_significant_headline():
    found = sentence(
        gate("shift.top1[a]", trend="worse", difference=-0.067, p=0.01),
        gate("shift.top1[b]", trend="worse", difference=-0.05, p=0.001),
        gate("shift.relative_robustness[c]", trend="worse", difference=-0.2, p=0.00001, headline=False),
        gate("calibration.brier[a]", trend="worse", difference=0.093),
        gate("ood.auroc_mcm[b]"),
    )
    assert found == (
        "not ready: 2 of 3 aspects got worse: natural shift (shift.top1[b] -0.050, and 2 more), "
        "calibration (calibration.brier[a] +0.093)"
    )


def test_gains_are_named_too():
    found = sentence(gate("shift.top1[a]", trend="better", difference=0.04, p=0.99))
    assert found == "ready: 0 of 1 aspect got worse; better: natural shift (shift.top1[a] +0.040)"


def test_an_aspect_of_the_users_own_has_its_id_as_its_name():
    assert "wheels (wheels.round[a] -0.100)" in sentence(gate("wheels.round[a]", trend="worse", difference=-0.1))


def test_thresholds_errors_and_obstacles_are_reasons():
    error = record_error("no weights", model="m", measurement="test_x")
    below = [gate(f"shift.top1[{name}]", verdict="below_threshold", threshold=">= 0.9") for name in "abcde"]
    assert sentence(error, *below, obstacle="1 other test failed") == (
        "not ready: outside its threshold: shift.top1[a], shift.top1[b], shift.top1[c] and 2 more; not measured: "
        "test_x; 1 other test failed"
    )


def test_a_threshold_that_failed_and_a_loss_are_both_said():
    found = sentence(gate("shift.top1[a]", trend="worse", verdict="below_threshold", difference=-0.1, threshold=">= 1"))
    assert found.startswith("not ready: 1 of 1 aspect got worse: natural shift (shift.top1[a] -0.100); outside its thr")


def test_a_run_that_nothing_judges_is_not_called_ready():
    (one,) = conclude([gate("shift.top1[a]", compared=False)])
    assert one["verdict"] == "not judged"
    assert one["sentence"] == "not judged: no gate has a threshold or something to compare with"
    (one,) = conclude([gate("shift.top1[a]", compared=False, threshold=">= 0.5")])
    assert one["verdict"] == "ready"


def test_a_part_of_a_run_says_that_it_is_one():
    assert sentence(gate("shift.top1[a]"), selected=True).startswith("ready, as far as the selected tests tell: ")


def test_where_it_is_strict_noise_is_a_reason():
    found = sentence(gate("shift.top1[a]", trend="unclear", failed=True))
    assert found == "not ready: 1 loss of at least the tolerance can be noise, and --clip-strict fails that"


def test_an_expected_failure_is_no_reason():
    (one,) = conclude([gate("shift.top1[a]", trend="worse", difference=-0.1, failed=False)])
    assert (one["verdict"], one["worse"]) == ("ready", [])


def test_models_have_a_conclusion_each():
    found = conclude([gate("shift.top1[a]", model="x"), gate("shift.top1[a]", model="y", trend="worse")])
    assert [(one["model"], one["verdict"]) for one in found] == [("x", "ready"), ("y", "not ready")]


@pytest.mark.parametrize(
    ("detectable", "blind"), [((0.05, 0.03), [0.03]), ((0.05, 0.009), []), ((0.01, 0.02), []), ((0.02,), [0.02])]
)
def test_an_aspect_is_blind_if_no_headline_sees_a_loss_of_its_tolerance(detectable, blind):
    records = [gate(f"shift.top1[{i}]", detectable=one, needed=700) for i, one in enumerate(detectable)]
    records.append(gate("shift.relative_robustness[x]", detectable=0.001, headline=False))
    (one,) = conclude(records)
    assert [sight["detectable"] for sight in one["blind"]] == blind
    assert all(sight["samples_needed"] == 700 and sight["n"] == 100 for sight in one["blind"])


def test_an_aspect_without_headlines_sees_with_its_details():
    (one,) = conclude([gate("shift.a[x]", detectable=0.5, headline=False), gate("shift.b[x]", headline=False)])
    assert one["blind"] == []
    (one,) = conclude([gate("shift.a[x]", compared=False, threshold=">= 0.1")])
    assert one["blind"] == []


def test_values_at_chance_are_listed():
    (one,) = conclude([gate("shift.top1[a]", chance=True), gate("shift.top1[b]")])
    assert one["at_chance"] == ["shift.top1[a]"]
