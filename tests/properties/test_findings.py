"""Findings on panels made by hand, where the answer is known, and what must hold for every panel."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_panels import model, row, table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from pytest_clip_robust.core.evidence import columns_digest
from pytest_clip_robust.core.finding import Effect, Status
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.properties.findings.factor_lines import factor_residuals
from pytest_clip_robust.properties.findings.paired import ECE, SCALED_ECE, SHAPE_BIAS, difference
from pytest_clip_robust.properties.findings.registry import FINDINGS, evaluate_findings
from pytest_clip_robust.properties.findings.result import directed, unchanged

HOLDS, NOT, UNDECIDED, UNTESTED = Status.HOLDS, Status.DOES_NOT_HOLD, Status.NOT_DECIDED, Status.NOT_TESTED


def result(panel, name):
    (found,) = evaluate_findings(panel, [name])
    return found


def effect(low, high):
    return Effect(value=(low + high) / 2, low=low, high=high, models=5, units=5, of="families")


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.01, 0.2, HOLDS), (-0.01, 0.2, UNDECIDED), (-0.2, -0.1, NOT), (-0.2, 0.04, NOT), (0.001, 0.04, NOT)],
)
def test_a_direction_is_decided_by_the_whole_interval(low, high, status):
    assert directed(effect(low, high), smallest=0.05, statistic="s").status is status


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(-0.01, 0.02, HOLDS), (-0.1, 0.02, UNDECIDED), (0.06, 0.1, NOT), (-0.2, -0.06, NOT), (-0.2, 0.2, UNDECIDED)],
)
def test_no_effect_is_decided_by_the_whole_interval(low, high, status):
    assert unchanged(effect(low, high), largest=0.05, statistic="s").status is status


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.001, 0.5))
def test_every_interval_has_exactly_one_answer(middle, half, margin):
    found = effect(middle - half, middle + half)
    assert directed(found, smallest=margin, statistic="s").status in {HOLDS, NOT, UNDECIDED}
    assert unchanged(found, largest=margin, statistic="s").status in {HOLDS, NOT, UNDECIDED}


@pytest.mark.parametrize("name", FINDINGS)
def test_an_empty_panel_tests_no_finding_and_says_what_it_needs(name):
    found = result(PanelTable(rows=()), name)
    assert found.status is UNTESTED
    assert found.why.startswith("needs ")
    assert "\n" not in found.why


def tuned(biases, *, fine_tuning="cross-entropy", parent_bias=0.6):
    """Return a panel of parents, each with a fine-tuned version of the given shape bias."""
    values = {}
    for i, bias in enumerate(biases):
        values[model(f"clip{i}", group=f"g{i}")] = {f"{SHAPE_BIAS}[cues]": parent_bias}
        child = model(f"ft{i}", group=f"g{i}", parent=f"clip{i}", fine_tuning=fine_tuning)
        values[child] = {f"{SHAPE_BIAS}[cues]": bias}
    return values


@pytest.mark.parametrize(
    ("biases", "status"),
    [([0.3, 0.31, 0.29], HOLDS), ([0.6, 0.6, 0.6], NOT), ([0.7, 0.7, 0.7], NOT), ([0.3, 0.9, 0.6], UNDECIDED)],
)
def test_shape_bias_that_falls_with_fine_tuning_is_found(biases, status):
    found = result(table(tuned(biases), error=0.004), "fine_tuning_lowers_shape_bias")
    assert found.status is status
    assert found.answer.effect.units == 3


def test_shape_bias_needs_a_parent_that_the_panel_names():
    values = {model("clip"): {f"{SHAPE_BIAS}[cues]": 0.5}}
    values[model("ft", fine_tuning="cross-entropy")] = {f"{SHAPE_BIAS}[cues]": 0.2}
    assert "names it as its parent" in result(table(values), "fine_tuning_lowers_shape_bias").why


def test_contrastive_tuning_is_compared_with_the_other_child_of_the_same_parent():
    values = tuned([0.3])
    values[model("flyp", group="g0", parent="clip0", fine_tuning="contrastive")] = {f"{SHAPE_BIAS}[cues]": 0.5}
    values[model("other", parent="clip9", fine_tuning="contrastive")] = {f"{SHAPE_BIAS}[cues]": 0.0}
    found = result(table(values), "contrastive_tuning_keeps_shape_bias")
    assert (found.status, found.answer.effect.models, found.answer.effect.of) == (HOLDS, 1, "images")
    assert found.answer.effect.value == pytest.approx(0.2)


def ranked(accuracies, others, key, **about):
    return {
        model(f"m{i:02}", **{name: of[i] for name, of in about.items()}): {"zero_shot.top1[id]": x, key: y}
        for i, (x, y) in enumerate(zip(accuracies, others, strict=True))
    }


def test_detection_ranks_like_accuracy_within_a_source_even_if_sources_differ():
    accuracy = np.concatenate([np.linspace(0.4, 0.6, 6), np.linspace(0.5, 0.7, 6)])
    detection = np.concatenate([np.linspace(0.8, 0.9, 6), np.linspace(0.5, 0.6, 6)])
    panel = table(ranked(accuracy, detection, "ood.auroc_mcm[far]", training_data=["A"] * 6 + ["B"] * 6))
    found = result(panel, "ood_detection_ranks_like_accuracy")
    assert (found.status, found.answer.effect.value) == (HOLDS, 1.0)


def test_detection_without_a_known_source_is_not_tested():
    accuracy = np.linspace(0.4, 0.6, 8)
    panel = table(ranked(accuracy, accuracy, "ood.auroc_mcm[far]", training_data=[None] * 8))
    assert "known training data, and the panel has none" in result(panel, "ood_detection_ranks_like_accuracy").why


@pytest.mark.parametrize(("recall", "status"), [(np.linspace(0.2, 0.5, 9), HOLDS), (np.linspace(0.5, 0.2, 9), NOT)])
def test_retrieval_that_follows_accuracy_is_found(recall, status):
    panel = table(ranked(np.linspace(0.4, 0.8, 9), recall, "retrieval.recall_at_1_image_to_text[captions]"))
    assert result(panel, "retrieval_follows_accuracy_image_to_text").status is status
    assert result(panel, "retrieval_follows_accuracy_text_to_image").status is UNTESTED


def calibrated(after):
    keys = {"zero_shot.top1[id]": 0.6, "shift.top1[night]": 0.4}
    for where in ("id", "night"):
        keys |= {f"{ECE}[{where}]": 0.2, f"{SCALED_ECE}[{where}]": after}
    return table({model(f"m{i}"): keys for i in range(4)}, error=0.003)


@pytest.mark.parametrize(("after", "status"), [(0.05, HOLDS), (0.2, NOT), (0.3, NOT), (0.195, UNDECIDED)])
@pytest.mark.parametrize("where", ["in_distribution", "under_shift"])
def test_a_temperature_that_lowers_the_error_is_found(after, status, where):
    assert result(calibrated(after), f"temperature_calibrates_{where}").status is status


def towers(advantage, *, vits="ViT", others="ResNet"):
    """Return 8 towers of one kind and 4 of another; the latter are `advantage` above the line at severity 5."""
    values = {}
    for i, clean in enumerate(np.linspace(0.4, 0.8, 12)):
        cnn = i % 3 == 0
        corrupted = ndtr(0.9 * ndtri(clean) - 0.5) + 0.002 * (i % 2) + advantage * cnn
        values[model(f"m{i:02}", family=others if cnn else vits)] = {
            "corruption.mean_top1[id]": 0.7 * clean,
            "corruption.relative_robustness[id]": 0.7,
            "corruption.top1[id/fog/3]": 0.1,
            "corruption.top1[id/fog/5]": corrupted - 0.1,
            "corruption.top1[id/blur/5]": corrupted + 0.1,
        }
    return values


@pytest.mark.parametrize(("advantage", "status"), [(0.1, HOLDS), (0.0, NOT), (-0.1, NOT)])
def test_towers_are_compared_at_their_clean_accuracy_and_severity_5(advantage, status):
    found = result(table(towers(advantage), error=0.001), "convolutional_towers_withstand_corruption")
    assert found.status is status
    assert found.answer.effect.value == pytest.approx(100 * advantage, abs=1)
    assert found.answer.effect.models == 4


def test_with_few_vits_the_line_is_that_of_the_convolutional_towers():
    """Four ViTs, 10 points above eight ResNets."""
    panel = table(towers(0.1, vits="ResNet", others="ViT"), error=0.001)
    found = result(panel, "convolutional_towers_withstand_corruption")
    assert (found.status, found.answer.effect.models) == (NOT, 4)
    assert found.answer.effect.value == pytest.approx(-10, abs=1)


def test_hybrid_towers_are_neither():
    found = result(table(towers(0.1, others="CoAtNet")), "convolutional_towers_withstand_corruption")
    assert found.why == "needs 1 or more zero-shot models with a convolutional tower, and the panel has none"


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        ((0.05, -0.05, 0.0), (HOLDS, HOLDS, HOLDS)),
        ((-0.05, 0.05, 0.05), (NOT, NOT, NOT)),
        ((0, 0, 0.009), (NOT, NOT, UNDECIDED)),
    ],
)
def test_fewer_templates_are_judged_by_aspect(change, statuses):
    names = ("auroc_mcm[far]", "ece_15_equal_width[id]", "factor_average[factors]")
    keys = {f"prompts.fewer_templates_{name}": value for name, value in zip(names, change, strict=True)}
    panel = table({model(f"m{i}"): keys for i in range(3)}, error=0.002)
    aspects = ("help_ood_detection", "help_calibration", "leave_factors")
    assert tuple(result(panel, f"fewer_templates_{one}").status for one in aspects) == statuses


@pytest.mark.parametrize(
    ("weak", "others", "status"),
    [(0.2, -0.1, HOLDS), (0.2, 0.1, NOT), (-0.2, -0.3, NOT), (0.01, -0.3, UNDECIDED)],
)
def test_a_multimodal_model_must_gain_only_where_its_tower_is_weak(weak, others, status):
    name = "all_way_likelihood_sum[id"
    keys = {f"multimodal.gain_where_weak_{name}]": weak - others, f"multimodal.gain_over_tower_{name}/others]": others}
    keys[f"multimodal.gain_over_tower_{name}/challenging]"] = weak
    found = result(table({model("lmm"): keys}, error=0.02), "lmm_gains_only_where_tower_is_weak")
    assert found.status is status
    assert "on the others" in found.why


MEASURED = ("texture", "pose")


def factors(gain, *, references=12, clips=4, error=0.001):
    """Return reference models on a line, and zero-shot models `gain` above it, for some factors."""
    values = {}
    for i in range(references + clips):
        average, clip = 0.4 + 0.4 * i / (references + clips), i % (1 + references // clips) == 1
        keys = {"visual_factors.average[x]": average}
        accuracy = ndtr(0.9 * ndtri(average) - 0.2) + 0.003 * (i % 2) + (gain if clip else 0)
        keys |= {f"visual_factors.accuracy_top[x/{factor}]": accuracy for factor in MEASURED}
        values[model(f"m{i:02}", fine_tuning="zero-shot" if clip else "supervised")] = keys
    return table(values, error=error)


@pytest.mark.parametrize(("gain", "gains", "loses"), [(0.1, HOLDS, NOT), (-0.1, NOT, HOLDS), (0.0, NOT, NOT)])
def test_factors_are_judged_by_the_line_of_the_reference_models(gain, gains, loses):
    panel = factors(gain)
    assert result(panel, "clip_gains_on_texture").status is gains
    assert result(panel, "clip_loses_on_pose").status is loses
    assert result(panel, "clip_gains_on_texture").answer.effect.value == pytest.approx(100 * gain, abs=1)


def test_the_residual_of_every_model_is_its_distance_from_the_line():
    found = [one for one in factor_residuals(factors(0.1)) if one.factor == "texture"]
    assert len(found) == 16
    assert sum(one.reference for one in found) == 12
    for one in found:
        assert one.residual == pytest.approx(0 if one.reference else 10, abs=0.6)
        assert one.residual == pytest.approx(100 * (one.accuracy - one.expected))
        assert one.low < one.residual < one.high
        assert one.high - one.low < 3


def test_the_interval_of_a_residual_widens_with_the_errors_of_its_images():
    """The images with the factor are all images here, and the slope is below 1, so part of the errors cancels."""
    few, many = (
        next(one for one in factor_residuals(factors(0.1, error=error)) if one.factor == "pose" and not one.reference)
        for error in (0.05, 0.001)
    )
    assert 3 * (many.high - many.low) < few.high - few.low < 100 * 2 * 1.96 * 0.05


def test_a_line_needs_reference_models():
    assert (
        "5 or more families for a line, and the panel has 4"
        in result(factors(0.1, references=4), "clip_gains_on_texture").why
    )


def outcomes(shape_share):
    """Return stored outcomes of 400 cue-conflict images; models answer most of them in the same way."""
    luck = np.random.default_rng(1).random(400)
    shape = luck < shape_share
    return [("cues", "shape", shape), ("cues", "texture", ~shape)]


def test_a_paired_difference_is_sharper_than_one_of_intervals():
    """Two models that differ on 40 of 400 images: sampling in pairs has a third of the error of two intervals."""
    stored = {columns_digest(columns): columns for columns in (outcomes(0.6), outcomes(0.5))}
    first, second = stored
    before, after = (
        row(model(label), f"{SHAPE_BIAS}[cues]", float(stored[key][0][2].mean()), error=0.0245, outcomes=key)
        for label, key in (("a", first), ("b", second))
    )
    value, paired = difference(PanelTable(rows=(before, after), outcomes=stored), before, after)
    same, unpaired = difference(PanelTable(rows=(before, after)), before, after)
    assert value == same == pytest.approx(before.value - after.value)
    assert unpaired == pytest.approx(0.0245 * 2**0.5)
    discordant = float((stored[first][0][2] != stored[second][0][2]).mean())
    assert paired == pytest.approx((discordant - value**2) ** 0.5 / 20, rel=0.1)
    assert paired < 0.6 * unpaired


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_the_order_of_rows_does_not_matter(random):
    rows = calibrated(0.15).rows + table(tuned([0.3, 0.5, 0.4])).rows
    shuffled = PanelTable(rows=tuple(random.sample(rows, len(rows))))
    names = ["temperature_calibrates_under_shift", "fine_tuning_lowers_shape_bias"]
    assert evaluate_findings(shuffled, names) == evaluate_findings(PanelTable(rows=rows), names)


def test_the_order_of_rows_does_not_change_a_resampled_line():
    panel = factors(0.05)
    assert result(PanelTable(rows=panel.rows[::-1]), "clip_gains_on_texture") == result(panel, "clip_gains_on_texture")


def test_findings_of_all_paragraphs_are_there():
    assert len(FINDINGS) == 20
    assert all(finding.claim.endswith(".") for finding in FINDINGS.values())
