"""Calibration: is the model as often correct as it is confident, with and without temperature scaling?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import calibration

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("id", "shift")]


@pytest.mark.parametrize("metric", calibration.METRICS)
def test_as_it_is(model, dataset, metric, gate):
    gate(calibration.measure(model.calibration.confidences(dataset), metric))


@pytest.mark.parametrize("metric", calibration.METRICS)
def test_temperature_scaled(model, dataset, id_set, metric, gate):
    gate(calibration.measure(model.calibration.confidences(dataset, kind="scaled", id_set=id_set), metric))


@pytest.mark.parametrize("metric", calibration.OF_CONFIDENCES)
def test_pair_probability(model, dataset, metric, gate):
    if model.bias == 0:
        pytest.skip(f"{model.spec.label} was trained with a softmax: it states no pair probability")
    gate(calibration.measure(model.calibration.confidences(dataset, kind="sigmoid"), metric))
