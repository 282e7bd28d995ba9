"""Factor analysis on panels made by hand, where the factor behind a property is known."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_panels import model, table
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.factor_analysis import analyse_factors, factor_warnings, ridge
from pytest_clip_robust.properties.factor_design import SIX, Design, confounding, design_of, explained

SOURCES = {"A": 0.0, "B": 0.1, "C": 0.3}


def panel(count=24, *, seed=0, loss=None, group=None):
    """Return models whose property ``made.of_data`` follows from their training data; ``made.noise`` is random."""
    draw = np.random.default_rng(seed)
    values = {}
    for i in range(count):
        source = "ABC"[i % 3]
        one = model(
            f"m{i:02}",
            group=group(i) if group else "",
            family=["ViT", "ResNet"][draw.integers(2)],
            training_data=source,
            samples_seen=10 ** draw.uniform(8, 10),
            loss=loss(source) if loss else ["softmax", "sigmoid"][draw.integers(2)],
            prompts="simple-7",
        )
        values[one] = {
            "made.of_data[set]": SOURCES[source] + 0.01 * draw.normal(),
            "made.noise[set]": draw.normal(),
            "made.constant[set]": 0.5,
        }
    return table(values)


def shares(found, metric):
    return {one.factor: one for one in found if one.metric == metric}


def test_the_factor_behind_a_property_is_found():
    found = shares(analyse_factors(panel()), "made.of_data")
    assert list(found) == ["all", *SIX]
    assert found["training data"].alone.low > 0.9
    assert found["training data"].unique.low > 0.5
    for other in ("architecture", "training size", "loss"):
        assert found[other].alone.value < 0.2
        assert found[other].unique.value < 0.05
    assert found["all"].alone.value == pytest.approx(1, abs=0.1)
    assert (found["all"].unique, found["all"].models, found["all"].families) == (None, 24, 24)


def test_a_property_of_noise_is_not_explained():
    found = shares(analyse_factors(panel(30)), "made.noise")
    assert found["all"].alone.value < 0.15


def test_a_property_that_does_not_differ_is_left_out():
    assert not shares(analyse_factors(panel()), "made.constant")


def test_a_factor_with_one_level_has_no_share_and_says_so():
    one = shares(analyse_factors(panel()), "made.of_data")["prompts"]
    assert (one.alone, one.unique) == (None, None)
    assert one.warning == "has one level in this panel, so its share is not known"


def test_confounded_factors_are_named():
    confounded = panel(loss=lambda source: "sigmoid" if source == "A" else "softmax")
    warnings = factor_warnings(confounded.models)
    assert warnings["loss"] == "goes together with training data in this panel: they cannot be told apart"
    assert "architecture" not in warnings
    assert "loss" not in factor_warnings(panel().models)


def test_a_factor_that_several_others_give_together_is_named():
    columns = {name: np.zeros((8, 0)) for name in SIX}
    one, other = (np.array([[1.0, -1.0][(i >> bit) & 1] for i in range(8)])[:, None] for bit in (0, 1))
    columns |= {"loss": one, "training data": other, "training size": (one + other) / 2**0.5}
    found = confounding(Design(columns=columns))
    assert found["training size"].startswith("follows from the other factors together")


def test_families_are_held_out_as_a_whole():
    """Twelve families of two twins each, with values that are random per family: nothing explains a new family."""
    values = {}
    for i in range(24):
        one = model(f"m{i:02}", group=f"g{i // 2}", training_data=f"d{i // 2}")
        values[one] = {"made.of_family[set]": float(np.random.default_rng(i // 2).normal())}
    found = shares(analyse_factors(table(values)), "made.of_family")
    assert found["training data"].alone.value < 0.1
    assert found["training data"].families == 12


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_families_are_an_error(count):
    with pytest.raises(MeasurementError, match="models of 5 or more families, and has none"):
        analyse_factors(panel(count))
    with pytest.raises(MeasurementError, match="models of 5 or more families"):
        analyse_factors(panel(12, group=lambda i: f"g{i % 4}"))


@given(st.randoms(use_true_random=False))
def test_the_order_of_models_does_not_change_the_design(random):
    models = list(panel().models.values())
    order = random.sample(range(len(models)), len(models))
    one, other = design_of(models), design_of([models[i] for i in order])
    for factor in SIX:
        np.testing.assert_allclose(other.columns[factor], one.columns[factor][order], atol=1e-12)


def test_the_order_of_rows_does_not_change_the_shares():
    one = panel(12)
    assert analyse_factors(PanelTable(rows=one.rows[::-1])) == analyse_factors(one)


@given(st.integers(0, 2**32 - 1))
def test_the_regression_is_scikit_learns(seed):
    draw = np.random.default_rng(seed)
    columns, target, at = draw.normal(size=(9, 4)), draw.normal(size=(9, 3)), draw.normal(size=(5, 4))
    weight, penalty = draw.integers(0, 3, 9).astype(float) + np.eye(9)[0], np.array([0.1, 1.0, 10.0])
    found, mean = ridge(columns, target, weight, penalty, at=at)
    expected = Ridge(alpha=penalty).fit(columns, target, sample_weight=weight).predict(at)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(mean, np.average(target, axis=0, weights=weight))


def test_unknown_numbers_are_marked_and_do_not_move_the_others():
    models = [model(f"m{i}", samples_seen=seen) for i, seen in enumerate([1e9, 1e10, None])]
    columns = design_of(models).columns["training size"]
    assert columns.shape == (3, 2)
    assert columns[2, 0] == pytest.approx(0)
    assert columns[2, 1] > 0


def test_more_columns_than_models_explain_everything():
    draw = np.random.default_rng(0)
    assert explained(draw.normal(size=(5, 1)), draw.normal(size=(5, 6))) == 1
