from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check import features as checks
from pytest_clip_robust.models.check.encoding import Features, Repeats


def rows(count=16, width=24, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


HEALTHY = Features(rows(), rows(seed=1))
REPEATS = Repeats(HEALTHY.images[:2], HEALTHY.images[:2], HEALTHY.texts[:2])


def test_healthy_features_pass():
    found = [
        checks.check_finite({"w": torch.ones(3)}, HEALTHY),
        checks.check_dimensions(HEALTHY),
        checks.check_dead(HEALTHY),
        checks.check_spread(HEALTHY),
        checks.check_repeat(REPEATS),
        checks.check_batches(HEALTHY, REPEATS, "fp32"),
        checks.check_precision(HEALTHY, HEALTHY, "bf16"),
    ]
    assert [one.status for one in found] == [Status.OK] * 7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_fail(value):
    texts = rows()
    texts[3, 5] = value
    check = checks.check_finite({}, Features(rows(), texts))
    assert check.status == Status.FAILED
    assert "1 of 768 values with NaN or Inf" in check.measured
    assert "--clip-precision fp32" in check.fix


def test_parameters_that_are_not_finite_fail_and_are_named():
    parameters = {"good": torch.ones(3), "count": torch.tensor(3), "bad": torch.tensor([1.0, torch.nan])}
    check = checks.check_finite(parameters, HEALTHY)
    assert check.status == Status.FAILED
    assert check.measured.startswith("1 of 3 parameters")
    assert check.fix.startswith("bad has NaN")


def test_features_of_zeros_fail():
    images = rows()
    images[2] = 0
    check = checks.check_finite({}, Features(images, None))
    assert check.status == Status.FAILED
    assert check.fix == "the tower of images returns zeros: check its weights"


def test_different_dimensions_fail():
    check = checks.check_dimensions(Features(rows(width=24), rows(width=12)))
    assert (check.status, check.measured) == (Status.FAILED, "24 of images, 12 of texts")
    assert "common space" in check.fix


def test_a_model_without_texts_has_no_dimensions_to_compare():
    assert checks.check_dimensions(Features(rows(), None)).status == Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("dead", "status"), [(2, Status.OK), (3, Status.WARNING), (12, Status.WARNING), (13, Status.FAILED)]
)
def test_dead_dimensions_are_counted(dead, status):
    texts = rows()
    texts[:, :dead] = 0.5
    check = checks.check_dead(Features(rows(), texts))
    assert check.status == status
    assert f"{dead / 24:.1%} of texts" in check.measured
    assert status == Status.OK or "of texts do not change" in check.fix


def test_features_that_are_all_the_same_are_dead_and_collapsed():
    same = Features(np.ones((16, 24), np.float32), None)
    assert checks.check_dead(same).status == Status.FAILED
    assert checks.check_spread(same).status == Status.FAILED


def test_nearly_the_same_features_fail_and_crowded_ones_are_a_warning():
    for noise, status in ((0.01, Status.FAILED), (0.1, Status.WARNING), (0.5, Status.OK)):
        check = checks.check_spread(Features(1 + noise * rows(), rows()))
        assert check.status == status, check
        assert status == Status.OK or "images" in check.fix


def test_features_along_one_direction_fail():
    line = np.outer(np.linspace(-1, 1, 16), np.ones(24)).astype(np.float32)
    check = checks.check_spread(Features(rows(), line))
    assert check.status == Status.FAILED
    assert "texts" in check.fix


@given(st.integers(2, 12), st.integers(3, 8), st.integers(0, 2**31))
def test_the_mean_cosine_is_that_of_all_pairs(count, width, seed):
    found = rows(count, width, seed)
    pairs = [
        float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        for i, one in enumerate(found.astype(float))
        for j, other in enumerate(found.astype(float))
        if i != j
    ]
    assert checks.mean_cosine(found) == pytest.approx(np.mean(pairs), abs=1e-5)


@given(st.integers(2, 12))
def test_the_effective_rank_of_n_orthogonal_rows_is_n_minus_1(count):
    assert checks.effective_rank(np.eye(count, 20, dtype=np.float32)) == pytest.approx(count - 1, rel=1e-5)


@given(st.integers(2, 16), st.integers(2, 30), st.integers(0, 2**31))
def test_the_effective_rank_is_at_most_the_rank(count, width, seed):
    found = rows(count, width, seed)
    centred = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert checks.effective_rank(found) <= np.linalg.matrix_rank(centred - centred.mean(axis=0)) + 1e-6


def test_a_model_with_dropout_fails():
    check = checks.check_repeat(REPEATS._replace(again=REPEATS.again * 1.01))
    assert check.status == Status.FAILED
    assert "1.0e-02" in check.measured
    assert ".eval()" in check.fix


@pytest.mark.parametrize(("what", "fix"), [("images", ".eval()"), ("texts", "padding")])
def test_features_that_depend_on_the_batch_fail(what, fix):
    check = checks.check_batches(HEALTHY, REPEATS._replace(**{what: getattr(REPEATS, what) * 1.1}), "fp32")
    assert check.status == Status.FAILED
    assert f"{what} " in check.measured
    assert fix in check.fix


def test_reduced_precision_may_differ_more_between_batches():
    near = REPEATS._replace(images=REPEATS.images * 1.005)
    assert checks.check_batches(HEALTHY, near, "fp32").status == Status.FAILED
    assert checks.check_batches(HEALTHY, near, "fp16").status == Status.OK


@pytest.mark.parametrize(("noise", "status"), [(0.01, Status.OK), (0.2, Status.WARNING), (2.0, Status.FAILED)])
def test_precision_is_judged_by_the_smallest_cosine(noise, status):
    changed = HEALTHY._replace(texts=HEALTHY.texts + noise * rows(seed=2))
    check = checks.check_precision(changed, HEALTHY, "fp16")
    assert check.status == status
    assert status == Status.OK or "--clip-precision fp32" in check.fix


def test_a_run_at_fp32_has_no_precision_to_judge():
    assert checks.check_precision(HEALTHY, None, "fp32").status == Status.NOT_APPLICABLE
