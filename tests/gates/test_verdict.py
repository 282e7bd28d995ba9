from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_clip_robust.core.measurement import Interval, Measurement, Miss, Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.gates import Threshold, Verdict, explain, judge
from pytest_clip_robust.gates.record import junit_properties, record_judgement


def measurement(**changes):
    fields = {
        "metric": "zero_shot.top1",
        "value": 0.6,
        "n": 100,
        "interval": Interval(0.5, 0.7, 0.95, "Wilson"),
        "direction": "higher",
        "tolerance": 0.01,
        "headline": True,
        "dataset": "photos",
        "misses": (Miss("a\x1b.jpg", "tench", "<b>barracouta</b>", 0.98),),
        "provenance": Provenance(model="ViT-B-32", weights="ab12"),
    }
    return Measurement(**(fields | changes))


def explained(judgement):
    return explain(record_judgement(judgement, model="m"))


def test_a_value_at_its_threshold_passes():
    assert judge(measurement(), Threshold(at_least=0.6)).verdict is Verdict.PASSED


def test_a_value_short_of_its_threshold_is_below_it():
    assert judge(measurement(), Threshold(at_least=0.61)).verdict is Verdict.BELOW_THRESHOLD


def test_a_value_above_an_upper_threshold_fails_too():
    assert judge(measurement(direction="lower"), Threshold(at_most=0.5)).verdict is Verdict.BELOW_THRESHOLD


def test_a_value_that_nothing_judges_passes():
    assert judge(measurement(), None).verdict is Verdict.PASSED


def test_an_objection_is_an_error_whatever_the_value():
    judgement = judge(measurement(), Threshold(at_least=0.1), objection="the baseline has other data")
    assert judgement.verdict is Verdict.ERROR
    assert explained(judgement) == "zero_shot.top1[photos] = 0.6000: the baseline has other data"


def test_what_may_be_noise_fails_only_where_it_is_strict():
    failing = {verdict for verdict in Verdict if verdict.fails(strict=False)}
    assert failing == {Verdict.ERROR, Verdict.REGRESSED, Verdict.BELOW_THRESHOLD}
    assert {verdict for verdict in Verdict if verdict.fails(strict=True)} == failing | {Verdict.INCONCLUSIVE}


def test_the_explanation_says_value_interval_threshold_difference_n_and_misses():
    text = explained(judge(measurement(), Threshold(at_least=0.9, source="profile strict.toml")))
    assert text.splitlines() == [
        "zero_shot.top1[photos] = 0.6000 is below its threshold 0.9000",
        "  interval    0.5000 to 0.7000 (95% Wilson)",
        "  n           100",
        "  threshold   >= 0.9 (profile strict.toml)",
        "  margin      -0.3000, more than the noise: the threshold is outside the interval",
        "  wrong decisions, most confident first:",
        "    a\\x1b.jpg  true tench  predicted <b>barracouta</b> (98.0%)",
    ]


def test_a_threshold_inside_the_interval_is_called_noise():
    judgement = judge(measurement(), Threshold(at_least=0.65))
    assert judgement.within_noise
    assert "within the noise" in explained(judgement)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_cannot_be_judged(value):
    with pytest.raises(MeasurementError, match="is not finite"):
        measurement(value=value)


def test_a_measurement_of_nothing_is_refused():
    with pytest.raises(MeasurementError, match="n=0"):
        measurement(n=0)


def test_a_record_is_plain_json_and_keeps_every_number():
    judgement = judge(measurement(details={"correct": 60}), Threshold(at_least=0.9, source="here"))
    record = record_judgement(judgement, model="ViT-B-32")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["verdict"] == "below_threshold"
    assert (record["value"], record["n"], record["bound"]) == (0.6, 100, 0.9)
    assert record["provenance"]["weights"] == "ab12"
    assert (record["tolerance"], record["headline"]) == (0.01, True)


def test_junit_properties_are_flat_and_named_clip():
    record = record_judgement(judge(measurement(), None), model="ViT-B-32")
    properties = dict(junit_properties(record))
    assert properties["clip_value"] == 0.6
    assert properties["clip_interval_low"] == 0.5
    assert properties["clip_provenance_weights"] == "ab12"
    assert all(name.startswith("clip_") for name in properties)
    assert not any(isinstance(value, dict | list) for value in properties.values())


def test_a_judgement_of_numpy_values_is_plain_json_too():
    value, low, high = (np.float64(number) for number in (0.6, 0.5, 0.7))
    found = measurement(value=value, interval=Interval(low, high, 0.95, "bootstrap"))
    record = record_judgement(judge(found, Threshold(at_least=0.55)), model="m")
    assert json.loads(json.dumps(record)) == record
    assert record["within_noise"] is True


def test_a_remark_and_a_plot_travel_with_the_record():
    found = measurement(remark="overconfident", plot={"x": np.array([0.0, 1.0]), "y": np.array([0.5, 1.0])})
    record = record_judgement(judge(found, Threshold(at_least=0.9)), model="m")
    assert json.loads(json.dumps(record))["plot"] == {"x": [0, 1], "y": [0.5, 1]}
    assert record["remark"] == "overconfident"
    assert ("clip_remark", "overconfident") in junit_properties(record)
    assert not any(name.startswith("clip_plot") for name, _ in junit_properties(record))
    assert "  remark      overconfident" in explained(judge(found, Threshold(at_least=0.9))).splitlines()
