from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.robust_line import (
    AXES,
    EDGE,
    fit_robust_line,
    resample_lines,
    residual_interval,
)

EXTRA_DATA = (
    "in21k|in22k|in12k|clip|laion|openai|dfn|webli|siglip|jft|ig1b|ig|swag|mim_m|fb_swsl|yfcc|lvd|metaclip|ns_jft|in22|"
    "datacomp|merged|dino|fcmae_ft_in22|wit|ra$"
)
"""What timm's tags say of other training data than ImageNet-1k, as in the fit that gave the known lines."""


def panel(n, *, intercept=-0.3, slope=0.9, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.4, 0.9, n)
    return x, norm.cdf(intercept + slope * norm.ppf(x) + rng.normal(0, spread, n))


def test_points_on_a_line_give_that_line():
    x, y = panel(20, spread=0)
    line = fit_robust_line(x, y)
    assert (line.intercept, line.slope, line.n, line.axes) == (
        pytest.approx(-0.3),
        pytest.approx(0.9),
        20,
        "probit",
    )
    assert line.scale == pytest.approx(0, abs=1e-6)
    assert line.predict(x) == pytest.approx(y)
    assert line.residual(x, y + 0.02) == pytest.approx(np.full(20, 2.0))


@given(st.integers(0, 1000), st.integers(12, 60), st.sampled_from(["probit", "logit"]))
@settings(max_examples=40)
def test_the_fit_equals_that_of_statsmodels(seed, n, axes):
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is the independent implementation")
    rng = np.random.default_rng(seed)
    forward, backward = AXES[axes]
    x = rng.uniform(0.3, 0.9, n)
    y = backward(0.8 * forward(x) - 0.4 + 0.1 * rng.standard_t(2, n))
    fit = sm.RLM(forward(y), sm.add_constant(forward(x)), M=sm.robust.norms.HuberT(1.345)).fit(tol=1e-14, maxiter=200)
    line = fit_robust_line(x, y, axes=axes)
    assert (line.intercept, line.slope) == pytest.approx(tuple(fit.params), abs=1e-5)
    assert line.scale == pytest.approx(fit.scale, abs=1e-5)


@given(st.integers(0, 1000), st.permutations(range(12)))
def test_the_order_of_models_does_not_matter(seed, order):
    x, y = panel(12, seed=seed)
    line, other = fit_robust_line(x, y), fit_robust_line(x[list(order)], y[list(order)])
    assert (other.intercept, other.slope) == pytest.approx((line.intercept, line.slope), abs=1e-8)


@given(st.integers(0, 1000), st.sampled_from(["probit", "logit"]))
def test_errors_in_place_of_accuracies_mirror_the_line(seed, axes):
    x, y = panel(15, seed=seed)
    line, mirrored = fit_robust_line(x, y, axes=axes), fit_robust_line(1 - x, 1 - y, axes=axes)
    assert (mirrored.intercept, mirrored.slope) == pytest.approx((-line.intercept, line.slope), abs=1e-8)


def test_a_few_odd_models_hardly_move_the_line():
    x, y = panel(100)
    odd = y.copy()
    odd[:5] = 0.99
    line, moved = fit_robust_line(x, y), fit_robust_line(x, odd)
    least_squares = np.polyfit(norm.ppf(x), norm.ppf(odd), 1)
    assert abs(moved.predict(0.7) - line.predict(0.7)) < 0.01
    assert norm.cdf(least_squares[1] + least_squares[0] * norm.ppf(0.7)) - line.predict(0.7) > 0.02


def test_accuracies_of_zero_and_one_are_moved_inside():
    x, y = panel(10)
    ends = np.concatenate([[0.0], y[1:-1], [1.0]])
    inside = np.concatenate([[EDGE], y[1:-1], [1 - EDGE]])
    assert fit_robust_line(x, ends) == fit_robust_line(x, inside)
    line = fit_robust_line(x, y)
    assert line.predict([0.0, 1.0]) == pytest.approx(line.predict([EDGE, 1 - EDGE]))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([0.5, 0.6], [0.4, 0.5], "2 models with 2 distinct accuracies x fit no line; give at least 3"),
        ([0.5, 0.5, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4], "4 models with 2 distinct accuracies x fit no line"),
        ([], [], "0 models with 0 distinct"),
        ([50, 0.6, 0.7], [0.4, 0.5, 0.6], r"x\[0\]=50.0; expected an accuracy as a share, 0-1"),
        ([0.5, 0.6, 0.7], [0.4, float("nan"), 0.6], r"y\[1\]=nan; expected"),
        ([0.5, 0.6, 0.7], [0.4, 0.5], r"x has the shape \(3,\) and y \(2,\); expected \(N,\)"),
    ],
)
def test_what_fits_no_line_is_a_one_line_error(x, y, message):
    with pytest.raises(MeasurementError, match=message):
        fit_robust_line(x, y)


def test_the_spread_of_resampled_lines_is_the_standard_error():
    x, y = panel(300)
    lines = resample_lines(x, y)
    u = norm.ppf(x)
    error = 0.05 / np.sqrt(((u - u.mean()) ** 2).sum())
    assert lines.slopes.std() == pytest.approx(error, rel=0.15)
    again = resample_lines(x, y)
    assert np.array_equal(lines.slopes, again.slopes)
    assert not np.array_equal(lines.slopes, resample_lines(x, y, seed=1).slopes)
    assert lines.predict(0.7).shape == (1000,)


def test_rows_of_one_group_are_drawn_together():
    x, y = panel(60)
    twice, groups = (np.tile(one, 2) for one in (x, y)), np.tile(np.arange(60), 2)
    single = resample_lines(x, y)
    grouped = resample_lines(*twice, groups=groups)
    assert grouped.slopes == pytest.approx(single.slopes, abs=1e-7)
    alone = resample_lines(np.tile(x, 2), np.tile(y, 2))
    assert alone.slopes.std() < 0.85 * grouped.slopes.std()
    with pytest.raises(MeasurementError, match="2 groups for 60 models"):
        resample_lines(x, y, groups=["a", "b"])


def test_resampled_lines_equal_fits_of_the_drawn_models():
    x, y = panel(9)
    lines = resample_lines(x, y, replicates=5)
    drawn = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=5)
    for counts, slope, intercept in zip(drawn, lines.slopes, lines.intercepts, strict=True):
        line = fit_robust_line(np.repeat(x, counts), np.repeat(y, counts))
        assert (line.slope, line.intercept) == pytest.approx((slope, intercept), abs=1e-8)


def test_the_interval_of_a_residual_is_as_wide_as_the_panel_is_uncertain():
    x, y = panel(300)
    interval = residual_interval(x, y, at=(0.8, 0.75))
    u, at = norm.ppf(x), norm.ppf(0.8)
    error = 0.05 * np.sqrt(1 / len(u) + (at - u.mean()) ** 2 / ((u - u.mean()) ** 2).sum())
    truth = 75 - 100 * norm.cdf(-0.3 + 0.9 * at)
    width = 2 * 1.96 * 100 * error * norm.pdf(-0.3 + 0.9 * at)
    assert interval.low < truth < interval.high
    assert interval.high - interval.low == pytest.approx(width, rel=0.15)


def test_a_panel_of_three_models_has_an_interval():
    interval = residual_interval([0.5, 0.6, 0.8], [0.3, 0.45, 0.6], at=(0.7, 0.6))
    assert interval.low < interval.high


def accuracies(folder: Path, name):
    with (folder / f"timm_results-{name}.csv").open(encoding="utf-8") as file:
        return {(row["model"], row["img_size"]): row["top1"] for row in csv.DictReader(file)}


def without_extra_data(model):
    return not re.search(EXTRA_DATA, model.partition(".")[2]) and not re.search("clip|dinov", model)


@pytest.mark.parametrize(
    ("shift", "clean", "intercept", "slope", "n"),
    [
        ("imagenetv2-matched-frequency", "imagenet", -0.3220, 0.9608, 1252),
        ("sketch", "imagenet", -1.5188, 1.1802, 1252),
        ("imagenet-r", "imagenet-r-clean", -1.6080, 0.9058, 1252),
        ("imagenet-a", "imagenet-a-clean", -5.5374, 2.8396, 1251),
    ],
)
def test_published_accuracies_of_timm_give_the_known_lines(shared, shift, clean, intercept, slope, n):
    folder = shared / "golden" / "panels"
    base, moved = accuracies(folder, clean), accuracies(folder, shift)
    keys = [key for key in accuracies(folder, "imagenet") if without_extra_data(key[0]) and key in base.keys() & moved]
    line = fit_robust_line([float(base[key]) / 100 for key in keys], [float(moved[key]) / 100 for key in keys])
    assert (line.n, round(line.intercept, 4), round(line.slope, 4)) == (n, intercept, slope)
