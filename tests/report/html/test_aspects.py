"""Panels of aspects: each has the plot that its readers expect, from the values of the records."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from handmade_reports import changed, record

from pytest_clip_robust.names import ASPECTS
from pytest_clip_robust.report.html.aspects import PANELS, panels_of
from pytest_clip_robust.report.html.charts import LEFT, RIGHT
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import MOST_PLOTS, MOST_ROWS
from pytest_clip_robust.report.numbers import MINUS


def gate(key, value, before=None, **fields):
    made = record(key, value, model="m")
    return changed(made, before, **fields) if before is not None else {**made, **fields}


def panels(aspect, *records):
    return panels_of(aspect, Gates(records))


def curve(plot, kind="curve now"):
    return [path.get("d") for path in ET.fromstring(plot.drawing).iter("path") if path.get("class") == kind]


def test_plots_exist_only_for_aspects_of_the_package():
    assert set(PANELS) <= set(ASPECTS)
    assert panels("my_own", gate("my_own.metric[x]", 0.5)) == []


@pytest.mark.parametrize("aspect", sorted(PANELS))
def test_an_aspect_without_the_expected_gates_has_no_panel(aspect):
    assert panels(aspect, gate("other.metric[x]", 0.5)) == []
    for panel in panels(aspect, gate(f"{aspect}.unknown[x]", 0.5)):
        assert panel.rows


def test_reliability_comes_in_pairs_before_and_after_temperature_scaling():
    bins = {"low": [0.0], "high": [1.0], "confidence": [0.9], "accuracy": [0.7], "n": [100.0]}
    plain = [gate(f"calibration.ece_15_equal_width[{one}]", 0.2, plot=bins) for one in ("a", "b")]
    scaled = [
        gate(f"calibration.ece_15_equal_width_scaled[{one}]", 0.1, plot=bins, details={"temperature": 1.5})
        for one in ("b", "a")
    ]
    (panel,) = panels("calibration", *plain, *scaled)
    captions = [plot.caption.partition(";")[0] for plot in panel.plots]
    assert captions == [
        "a, as it is: ECE 0.200",
        "a, after temperature scaling: ECE 0.100",
        "b, as it is: ECE 0.200",
        "b, after temperature scaling: ECE 0.100",
    ]
    assert "temperature 1.500" in panel.plots[1].caption


def test_the_model_before_is_a_line_in_reliability_and_risk():
    bins = {"low": [0.0], "high": [1.0], "confidence": [0.9], "accuracy": [0.7], "n": [100.0]}
    risk = {"coverage": [0.5, 1.0], "risk": [0.1, 0.3]}
    records = [
        gate("calibration.ece_15_equal_width[a]", 0.2, before=0.1, plot=bins),
        gate("calibration.aurc[a]", 0.2, before=0.1, plot=risk),
    ]
    records[0]["change"]["plot"] = bins | {"accuracy": [0.2]}
    records[1]["change"]["plot"] = risk
    reliability, risks = panels("calibration", *records)
    assert ("before", "accuracy before") in reliability.legend
    (dot,) = ET.fromstring(reliability.plots[0].drawing).iter("circle")
    (bar,) = [one for one in ET.fromstring(reliability.plots[0].drawing).iter("rect") if one.get("class") == "bin"]
    assert (dot.get("class"), float(dot.get("cy")) > float(bar.get("y"))) == ("dot before", True)
    assert curve(risks.plots[0], "curve before") == curve(risks.plots[0])
    records[0]["change"]["plot"] = {"low": [0.0]}
    reliability, _ = panels("calibration", *records)
    assert "before" not in reliability.plots[0].drawing


def bars(plot, kind):
    found = [one for one in ET.fromstring(plot.drawing).iter("rect") if one.get("class") == f"bar {kind}"]
    return [float(one.get("height")) for one in found]


def test_scores_have_the_histograms_of_both_sets_now_and_before():
    def histogram(inside, outside, high=1.0):
        return {"low": [0.0, high / 2], "high": [high / 2, high], "inside": inside, "outside": outside}

    roc = {"false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]}
    main = gate("ood.auroc_mcm[far]", 0.8, before=0.7, headline=True, plot=roc | histogram([0.2, 0.8], [0.9, 0.1]))
    main["change"]["plot"] = roc | histogram([0.5, 0.5], [0.5, 0.5], high=2.0)
    other = gate("ood.auroc_energy[far]", 0.9, plot=roc | histogram([1.0, 0.0], [0.0, 1.0]), headline=False)
    chart, scores, _ = panels("ood", other, main)
    assert len(curve(chart.plots[0], "curve before")) == 1
    (plot,) = scores.plots
    low, high = bars(plot, "inside")
    assert high == pytest.approx(4 * low, rel=0.01)
    assert len(curve(plot, "steps outside")) == len(curve(plot, "steps outside before")) == 1
    (before,) = curve(plot, "steps inside before")
    # A bin of twice the width is drawn with half of its share.
    ground, top = (float(point.split()[1]) for point in before.removeprefix("M").split("L")[:2])
    assert ground - top == pytest.approx(low * 0.25 / 0.2, rel=0.01)
    assert "0 to 0.500: 20.0% of ID, 90.0% of OOD" in plot.drawing.replace("0.000 to", "0 to")


def test_a_set_has_one_chart_with_the_roc_of_every_score_and_the_headline_last():
    roc = {"false_positive_rate": [0.0, 0.1, 1.0], "true_positive_rate": [0.0, 0.8, 1.0]}
    records = [
        gate("ood.auroc_mcm[far]", 0.8, plot=roc, headline=True),
        gate("ood.auroc_energy[far]", 0.9, plot=roc, headline=False),
        gate("ood.auroc_none[far]", 0.7, headline=False),
    ]
    chart, rows = panels("ood", *records)
    (plot,) = chart.plots
    assert (len(curve(plot)), len(curve(plot, "curve other"))) == (1, 1)
    assert plot.caption == "far: AUROC 0.800 by mcm, n = 100"
    assert [row.label for row in rows.rows] == ["energy", "mcm", "none"]


def test_accuracy_over_severity_begins_at_the_clean_accuracy_and_the_worst_kind_is_first():
    records = [
        gate("corruption.top1[x/fog/1]", 0.6, before=0.65),
        gate("corruption.top1[x/fog/5]", 0.4, before=0.5),
        gate("corruption.top1[x/noise/3]", 0.1),
        gate("corruption.relative_robustness[x/fog]", 0.7, details={"clean": 0.8, "corrupted": 0.5}),
        gate("corruption.mean_top1[x/fog]", 0.5),
    ]
    chart, rows = panels("corruption", *records)
    noise, fog = chart.plots
    assert noise.caption.startswith("noise: 0.100")
    assert fog.caption == "fog: 0.600, 0.400; n = 100"
    assert "clean: 0.800, severity 1: 0.600, severity 5: 0.400" in fog.drawing
    starts = [line.split("L")[0] for line in curve(fog)]
    assert any(start.startswith(f"M{LEFT} ") for start in starts)
    assert len(curve(fog, "curve before")) == 1
    assert [row.label for row in rows.rows] == ["fog"]


def test_factors_are_sorted_by_difficulty():
    records = [gate(f"visual_factors.accuracy_top[x/{name}]", value) for name, value in (("pose", 0.5), ("style", 0.2))]
    records += [
        gate(f"visual_factors.error_ratio_top[x/{name}]", value, direction="lower")
        for name, value in (("pose", 1.1), ("style", 1.9))
    ]
    accuracy, ratio = panels("visual_factors", *records)
    assert [row.label for row in accuracy.rows] == ["style", "pose"]
    assert [row.label for row in ratio.rows] == ["style", "pose"]


def test_shape_and_texture_share_one_axis():
    records = [
        gate("shape_bias.ratio_direct[x]", 0.9, details={"ratio.cup": 0.95, "ratio.car": 0.5, "cue_coverage": 0.8}),
        gate("shape_bias.shape_accuracy_direct[x]", 0.7),
        gate("shape_bias.texture_accuracy_direct[x]", 0.1, direction="lower"),
    ]
    cues, classes = panels("shape_bias", *records)
    assert [(row.label, row.value) for row in cues.rows] == [
        ("shape bias", 0.9),
        ("answers by shape", 0.7),
        ("answers by texture", 0.1),
    ]
    assert cues.ends == ("0", "1")
    assert [(row.label, row.value) for row in classes.rows] == [("car", 0.5), ("cup", 0.95)]


def test_shifts_are_below_the_accuracy_in_distribution():
    (panel,) = panels("shift", gate("shift.top1[a]", 0.3), gate("shift.top1[b]", 0.4), gate("zero_shot.top1[id]", 0.8))
    assert [row.label for row in panel.rows] == ["id", "b", "a"]


def test_recall_has_a_chart_per_direction_with_its_values_in_order():
    records = [
        gate(f"retrieval.recall_at_{k}_{way}[x]", k / 20, before=k / 25)
        for way in ("image_to_text", "text_to_image")
        for k in (10, 1, 5)
    ]
    (panel,) = panels("retrieval", *records)
    assert [plot.caption for plot in panel.plots] == [
        "x, image to text: 0.050 / 0.250 / 0.500; n = 100",
        "x, text to image: 0.050 / 0.250 / 0.500; n = 100",
    ]
    assert panel.legend == (("now", "now"), ("before", "before"))


def test_ranks_are_bars_now_and_an_outline_before():
    plot = {"first": [1.0, 2.0, 3.0], "last": [1.0, 2.0, 4.0], "share": [0.5, 0.3, 0.2]}
    records = [gate(f"retrieval.mean_rank_{way}[x]", 2.0, before=3.0, plot=plot) for way in ("a_to_b", "b_to_a")]
    records[0]["change"]["plot"] = plot
    (panel,) = panels("retrieval", *records)
    first, second = panel.plots
    assert first.caption == "x, a to b: mean rank 2, n = 100"
    heights = bars(first, "now")
    assert [one / heights[0] for one in heights] == pytest.approx([1, 0.6, 0.4], rel=0.01)
    assert "rank 3 to 4: 20.0%" in first.drawing
    assert (len(curve(first, "steps before")), len(curve(second, "steps before"))) == (1, 0)


def test_answers_that_stay_are_drawn_from_no_change_on_and_the_most_fragile_is_first():
    plots = [{"strength": [6.0, 12.0], "share_kept": kept} for kept in ([1.0, 0.9], [0.5, 0.1])]
    records = [
        gate("invariance.radius_hue[x]", 12.0, before=6.0, plot=plots[0]),
        gate("invariance.radius_crop[x]", 6.0, plot=plots[1]),
        gate("invariance.agreement[x/hue]", 0.9),
        gate("invariance.agreement[x/crop]", 0.5),
        gate("invariance.agreement[x]", 0.7),
    ]
    records[0]["change"]["plot"] = plots[1]
    charts, rows = panels("invariance", *records)
    crop, hue = charts.plots
    assert crop.caption == "crop: median strength 6, n = 100"
    (line,) = curve(crop)
    assert line.startswith(f"M{LEFT} 8L")
    assert curve(hue, "curve before") == [line]
    assert [row.label for row in rows.rows] == ["crop", "hue"]


def test_a_note_is_shown_without_a_word_and_with_one():
    records = [
        gate("typographic.top1[x]", 0.2),
        gate("typographic.top1_blank_note[x]", 0.6),
        gate("typographic.relative_robustness[x]", 0.3, details={"clean": 0.8, "blank": 0.6, "word": 0.2}),
        gate("typographic.attack_success[x]", 0.4, direction="lower"),
    ]
    notes, success = panels("typographic", *records)
    assert [(row.label, row.value) for row in notes.rows] == [
        ("no note", 0.8), ("a blank note", 0.6), ("a note with a wrong word", 0.2),
    ]  # fmt: skip
    assert [row.value for row in success.rows] == [0.4]


def test_word_order_has_the_baselines_that_see_no_image():
    (panel,) = panels("word_order", gate("word_order.accuracy[x]", 0.6, details={"blind": 0.3, "text_only": 0.9}))
    assert panel.rows[0].points == (("blind", 0.3), ("text only", 0.9))


def test_recall_by_angle_is_in_the_middle_of_each_bin():
    records = [
        gate("correspondence.recall_2cm[v/60-120]", 0.2),
        gate("correspondence.recall_2cm[v/0-60]", 0.4),
        gate("correspondence.recall_2cm[v]", 0.3),
    ]
    chart, rows = panels("correspondence", *records)
    (plot,) = chart.plots
    (line,) = curve(plot)
    x = [float(point.split()[0]) for point in line.removeprefix("M").split("L")]
    width = 260 - LEFT - RIGHT
    assert x == pytest.approx([LEFT + width / 4, LEFT + 3 * width / 4], abs=0.01)
    assert [row.label for row in rows.rows] == ["correspondence.recall_2cm[v]"]


def test_prompt_sets_are_points_between_the_lowest_and_the_highest():
    details = {"photo": 0.7, "openai-80": 0.74, "name": 0.72}
    (panel,) = panels("prompts", gate("prompts.spread_top1[x]", 0.04, details=details))
    (row,) = panel.rows
    assert row.points == (("photo", 0.7), ("name", 0.72), ("openai-80", 0.74))
    assert (row.low, row.value, row.high) == (0.7, pytest.approx(0.72), 0.74)
    assert panel.ends == (f"{MINUS}0.021", "+0.021")


def test_hard_captions_have_the_baselines_that_see_no_image():
    (panel,) = panels(
        "composition", gate("composition.accuracy[x/swap]", 0.6, details={"blind": 0.5, "text_only": 1.0, "other": 0.2})
    )
    assert panel.rows[0].points == (("blind", 0.5), ("text only", 1.0))


def test_a_multimodal_model_is_shown_against_its_tower():
    gains = [
        gate(f"multimodal.gain_over_tower_all_way[x/{name}]", lmm - 0.5, details={"lmm": lmm, "tower": 0.5})
        for name, lmm in (("pose", 0.6), ("style", 0.3))
    ]
    against, accuracy = panels("multimodal", *gains, gate("multimodal.accuracy_all_way[x]", 0.5))
    assert [(row.label, row.value, row.before) for row in against.rows] == [("x/style", 0.3, 0.5), ("x/pose", 0.6, 0.5)]
    assert against.before == "tower"
    assert len(accuracy.rows) == 1


def test_the_gain_of_every_category_is_that_of_the_headline():
    records = [
        gate(f"multimodal.gain_over_tower_all_way[{name}]", 0.1, details={"gain.cup": gain, "gain.car": -0.2, "n": 2.0},
             headline=name == "b")
        for name, gain in (("a", 0.5), ("b", 0.3))
    ]  # fmt: skip
    (panel,) = panels("multimodal", *records)
    assert panel.title == "Gain over the tower by category, b, all way"
    assert [(row.label, row.value) for row in panel.rows] == [("car", -0.2), ("cup", 0.3)]


def test_places_of_answers_are_beside_those_of_right_options():
    plot = {"place": [1.0, 2.0], "answers": [0.8, 0.2], "truths": [0.5, 0.5]}
    (panel,) = panels("multimodal", gate("multimodal.position_bias_pairwise[x]", 0.3, plot=plot))
    (chart,) = panel.plots
    first, second = bars(chart, "now")
    assert first == pytest.approx(4 * second, rel=0.01)
    assert "place 1: answered 80.0%, right 50.0%" in chart.drawing


def test_more_than_fits_is_left_out_and_counted():
    kinds = [gate(f"corruption.top1[x/kind{i}/1]", i / 100) for i in range(MOST_PLOTS + 2)]
    (panel,) = panels("corruption", *kinds)
    assert len(panel.plots) == MOST_PLOTS
    assert panel.note.endswith("2 more plots left out; report.json has their values.")
    (panel,) = panels("zero_shot", *(gate(f"zero_shot.m{i}[x]", 0.5) for i in range(MOST_ROWS + 1)))
    assert panel.note == "1 more row left out; report.json has their values."
