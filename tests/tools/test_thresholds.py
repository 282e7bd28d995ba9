"""Tests of the thresholds that are derived from the reports of a panel."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from handmade_reports import write_report
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from showroom import thresholds


def gate(metric, direction="higher", chance=None):
    return {"measurement": f"{metric}[x]", "metric": metric, "direction": direction, "chance": chance}


@pytest.mark.parametrize(
    ("found", "bound", "demand"),
    [
        (gate("zero_shot.top1"), 0.5031, "at_least = 0.50"),
        (gate("zero_shot.top1"), 0.0937, "at_least = 0.0937"),
        (gate("zero_shot.top1"), 0.09379, "at_least = 0.0937"),
        (gate("calibration.aurc", "lower"), 0.4201, "at_most = 0.43"),
        (gate("calibration.aurc", "lower"), 0.42 + 1e-12, "at_most = 0.42"),
        (gate("prompts.fewer_templates_top1"), -0.0892, "at_least = -0.0892"),
        (gate("prompts.fewer_templates_top1"), -0.1892, "at_least = -0.19"),
        (gate("retrieval.mean_rank_image_to_text", "lower"), 12.8865, "at_most = 12.89"),
        (gate("features.uniformity_image", "lower"), -3.05, "at_most = -3.05"),
        (gate("zero_shot.top1", chance=0.25), 0.27, "at_least = 0.27"),
        (gate("calibration.brier", "lower", chance=0.96), 0.95, "at_most = 0.95"),
    ],
)
def test_a_bound_is_rounded_to_the_lenient_side(found, bound, demand):
    assert thresholds.says_something(found, bound)
    assert thresholds.line(found, bound) == f'"{found["measurement"]}" = {{ {demand} }}\n'


@pytest.mark.parametrize(
    ("found", "bound"),
    [
        (gate("zero_shot.top1"), 0.00009),
        (gate("zero_shot.top1"), -0.2),
        (gate("zero_shot.top1", chance=0.25), 0.2511),
        (gate("calibration.mce_15", "lower"), 0.995),
        (gate("calibration.brier", "lower", chance=0.96), 0.951),
        (gate("composition.gain_over_blind"), -1.0),
    ],
)
def test_a_bound_that_no_value_violates_or_that_guesses_meet_says_nothing(found, bound):
    assert not thresholds.says_something(found, bound)


@pytest.mark.parametrize(
    ("found", "bound", "demand"),
    [
        (gate("zero_shot.top1"), -0.2, "at_least = 0.00"),
        (gate("zero_shot.top1"), -0.02, "at_least = 0.0000"),
        (gate("composition.gain_over_blind"), -1.3, "at_least = -1.00"),
        (gate("calibration.mce_15", "lower"), 1.4, "at_most = 1.00"),
        (gate("calibration.brier", "lower"), 2.4, "at_most = 2.00"),
        (gate("calibration.nll", "lower"), 7.001, "at_most = 7.01"),
    ],
)
def test_a_bound_is_clipped_to_the_range_of_its_metric(found, bound, demand):
    assert thresholds.line(found, bound) == f'"{found["measurement"]}" = {{ {demand} }}\n'


def test_a_gate_without_a_threshold_does_not_inherit_that_of_its_set(tmp_path, monkeypatch):
    profile = tmp_path / "p.toml"
    profile.write_text("[thresholds]\n")
    pairs = (("m", 0.8, 0.02), ("n", 0.8, 0.06))
    reports = [
        write_report(
            tmp_path, name, {"corruption.top1[x]": whole, "corruption.top1[x/fog]": part, "other.top1[x]": part}
        )
        for name, whole, part in pairs
    ]
    monkeypatch.setattr(sys, "argv", ["thresholds", str(profile), *map(str, reports)])
    thresholds.main()
    found = tomllib.loads(profile.read_text())["thresholds"]
    assert set(found) == {"corruption.top1[x]", "corruption.top1[x/fog]"}
    assert found["corruption.top1[x]"]["at_least"] > 0.5
    assert found["corruption.top1[x/fog]"] == {"at_least": 0.0}


def test_one_model_has_thresholds_that_cover_the_images_alone(tmp_path):
    report = write_report(tmp_path, "m", {"multimodal.accuracy[x]": 0.8})
    gates = thresholds.gates_of({report: thresholds.read_report(report)})
    assert list(gates) == ["multimodal.accuracy[x]"]
    (record,) = gates["multimodal.accuracy[x]"]
    error = thresholds.standard_error(record["interval"])
    (bound,) = thresholds.bounds([*gates.values()])
    expected = stats.t(record["n"] - 1).isf(thresholds.CHANCE) * error * np.sqrt(2)
    assert bound == pytest.approx(0.8 - expected)


def test_the_margin_is_the_prediction_interval_of_one_more_value():
    """With hardly any error from images, it is Student's prediction interval."""
    values = np.array([[0.50], [0.53], [0.58], [0.51]])
    found = thresholds.margins(values, np.full((4, 1), 1e-9), np.array([100]), chance=0.01)
    assert found == pytest.approx([stats.t(3).isf(0.01) * values.std(ddof=1) * np.sqrt(1 + 1 / 4)])


@pytest.mark.parametrize(("own_share", "lowest"), [(0.0, 0.035), (0.7, 0.005)])
def test_a_further_twin_on_other_images_violates_a_bound_at_most_as_often_as_stated(own_share, lowest):
    """Simulated with effects of the images that all twins share, and with effects that each twin has of its own."""
    rng = np.random.default_rng(4)
    twins, gates, images, chance = 5, 4000, 50, 0.05
    seeds = 0.02 * np.sqrt(6 / rng.chisquare(6, gates))
    shared, own = 0.3 * np.sqrt(1 - own_share), 0.3 * np.sqrt(own_share)

    def measured(number):
        return (
            rng.normal(0, seeds, (number, gates))
            + rng.normal(0, shared / np.sqrt(images), gates)
            + rng.normal(0, own / np.sqrt(images), (number, gates))
        )

    values, further = measured(twins), measured(1)[0]
    margins = thresholds.margins(
        values, np.full(values.shape, 0.3 / np.sqrt(images)), np.full(gates, images), chance=chance
    )
    assert lowest < np.mean(further < values.mean(axis=0) - margins) < chance + 0.008


def test_the_level_is_shared_by_all_gates(monkeypatch):
    seen = []
    monkeypatch.setattr(thresholds, "margins", lambda values, *_, chance: seen.append(chance) or np.full(10, 0.1))
    record = gate("zero_shot.top1") | {"value": 0.5, "n": 9, "interval": {"low": 0.4, "high": 0.6, "level": 0.95}}
    worse = record | {"direction": "lower"}
    assert thresholds.bounds([[record, record]] * 9 + [[worse, worse]]) == pytest.approx([0.4] * 9 + [0.6])
    assert seen == [0.005]


@pytest.mark.parametrize(
    ("option", "expected"), [([], {"b.x[x]", "c.x[x]"}), (["--keep"], {"a.x[x]", "b.x[x]", "c.x[x]"})]
)
def test_thresholds_that_are_not_in_the_reports_are_removed_unless_kept(tmp_path, monkeypatch, option, expected):
    profile = tmp_path / "p.toml"
    before = '[roles]\nid = "x"\n[thresholds]\n"a.x[x]" = { at_least = 0.30 }\n"b.x[x]" = { at_least = 0.10 }\n'
    after = '[tolerances]\n"b.x[x]" = 0.3\n'
    profile.write_text(before + after)
    reports = [
        write_report(tmp_path, name, {"c.x[x]": 0.9, "b.x[x]": value}) for name, value in (("m", 0.52), ("n", 0.56))
    ]
    monkeypatch.setattr(sys, "argv", ["thresholds", str(profile), *map(str, reports), *option])
    thresholds.main()
    found = tomllib.loads(profile.read_text())
    assert found["roles"] == {"id": "x"}
    assert found["tolerances"] == {"b.x[x]": 0.3}
    assert set(found["thresholds"]) == expected
    assert 0.2 < found["thresholds"]["b.x[x]"]["at_least"] < 0.5
    assert list(found["thresholds"]) == sorted(found["thresholds"])


def test_a_report_without_measurements_gives_no_thresholds(tmp_path, monkeypatch, capsys):
    profile = tmp_path / "p.toml"
    profile.write_text("[thresholds]\n")
    report = write_report(tmp_path, "m", {"a.x[x]": "the image cannot be read"})
    monkeypatch.setattr(sys, "argv", ["thresholds", str(profile), str(report)])
    with pytest.raises(SystemExit):
        thresholds.main()
    assert "m: no gate was measured: the image cannot be read" in capsys.readouterr().err


def test_the_error_of_a_normal_interval_is_found_again():
    low, high = stats.norm.interval(0.9, loc=0.4, scale=0.03)
    assert thresholds.standard_error({"low": low, "high": high, "level": 0.9}) == pytest.approx(0.03)
