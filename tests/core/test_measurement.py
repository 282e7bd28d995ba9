"""Metrics and measurements: what a property must declare, and what cannot be measured."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust import properties
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric
from pytest_clip_robust.errors import MeasurementError

NAMES = [one.name for one in pkgutil.iter_modules(properties.__path__)]
MODULES = [importlib.import_module(f"{properties.__name__}.{name}") for name in NAMES]


def measurement(**fields):
    return Measurement(
        **{
            "metric": "m",
            "value": 0.5,
            "n": 10,
            "interval": Interval(0.4, 0.6, 0.95, "none"),
            "direction": "higher",
            "tolerance": 0.01,
            "headline": False,
            "dataset": "set",
        }
        | fields
    )


def declared():
    for module in MODULES:
        for value in vars(module).values():
            yield from [value] if isinstance(value, Metric) else []
            yield from [one for one in value.values() if isinstance(one, Metric)] if isinstance(value, dict) else []


@pytest.mark.parametrize("field", ["direction", "tolerance", "headline"])
def test_a_metric_that_leaves_a_field_out_cannot_be_declared(field):
    fields = {"direction": "higher", "tolerance": 0.01, "headline": False}
    del fields[field]
    with pytest.raises(TypeError, match=field):
        Metric("new.metric", **fields)


def test_no_property_builds_a_measurement_without_a_declared_metric():
    """A mean over sets takes its tolerance from the metric of the sets; all others go through `Measurement.of`."""
    direct = [module.__name__ for module in MODULES if " Measurement(" in inspect.getsource(module)]
    assert direct == ["pytest_clip_robust.properties.ood"]


def test_ids_are_declared_once():
    ids = [metric.id for metric in {id(one): one for one in declared()}.values()]
    assert len(ids) > 40
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": float("nan")}, r"m\[set\]: value=nan is not finite"),
        ({"n": 0}, r"m\[set\]: n=0, so there is nothing to measure"),
        ({"tolerance": -0.1}, r"m\[set\]: tolerance=-0.1; expected a finite number, 0 or more"),
        ({"tolerance": float("inf")}, "tolerance=inf"),
        ({"chance": float("nan")}, r"m\[set\]: chance=nan; expected a finite number, or None if not known"),
        ({"chance": float("-inf")}, "chance=-inf"),
    ],
)
def test_a_measurement_that_cannot_be_judged_is_refused(fields, message):
    with pytest.raises(MeasurementError, match=message):
        measurement(**fields)


def test_outcomes_are_the_evidence_of_their_mean():
    found = measurement(outcomes=np.array([0, 1, 1], np.float32))
    assert found.evidence.strata[0].columns["outcome"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("direction", "chance", "expected"),
    [
        ("higher", None, False),
        ("higher", 0.39, False),
        ("higher", 0.4, True),
        ("higher", 0.5, True),
        ("higher", 0.7, True),
        ("lower", None, False),
        ("lower", 0.61, False),
        ("lower", 0.6, True),
        ("lower", 0.5, True),
        ("lower", 0.3, True),
    ],
)
def test_a_value_is_at_chance_unless_its_whole_interval_is_better(direction, chance, expected):
    assert measurement(direction=direction, chance=chance).at_chance is expected


def test_an_interval_without_an_end_does_not_rule_chance_out():
    unbounded = Interval(float("-inf"), float("nan"), 0.95, "none")
    assert measurement(interval=unbounded, chance=0.1).at_chance
    assert measurement(interval=unbounded, chance=0.1, direction="lower").at_chance


@given(
    ends=st.tuples(*[st.floats(-1, 1)] * 2).map(sorted),
    chance=st.floats(-1, 1),
    direction=st.sampled_from(["higher", "lower"]),
)
def test_a_mirrored_scale_has_the_same_values_at_chance(ends, chance, direction):
    def found(ends, chance, direction):
        interval = Interval(*ends, 0.95, "none")
        return measurement(interval=interval, chance=chance, direction=direction).at_chance

    mirrored = "lower" if direction == "higher" else "higher"
    assert found(ends, chance, direction) == found([-ends[1], -ends[0]], -chance, mirrored)
    assert found(ends, chance, direction) or not ends[0] <= chance <= ends[1]
