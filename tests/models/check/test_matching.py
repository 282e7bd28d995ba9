from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.encoding import Features
from pytest_clip_robust.models.check.matching import check_matching, match


def features(count=16, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@given(st.integers(2, 20), st.integers(2, 12), st.floats(1, 100), st.integers(0, 2**31))
def test_matching_equals_its_definition(count, width, scale, seed):
    images, texts = features(count, width, seed), features(count, width, seed + 1)
    found = match(images, texts, scale)
    logits = scale * np.array(
        [[i @ t / np.linalg.norm(i) / np.linalg.norm(t) for t in texts] for i in images.astype(float)]
    )
    assert found.hits == (logits.argmax(axis=1) == np.arange(count)).sum()
    assert found.p == pytest.approx(binomtest(found.hits, count, 1 / count, "greater").pvalue)
    assert found.sharpness == pytest.approx(softmax(logits, axis=1).max(axis=1).mean(), rel=1e-4)
    own = np.log(np.diag(softmax(logits, axis=0)))
    np.testing.assert_allclose(found.log_likelihood[count:], own, atol=1e-3, rtol=1e-3)


def test_a_model_that_matches_passes():
    images = features()
    check = check_matching(Features(images, images + 0.1 * features(seed=1)), 100.0)
    assert check.status == Status.OK
    assert check.measured.startswith("16 of 16 pictures (p 5e-20), sharpness ")


def test_a_model_that_guesses_is_a_warning_with_its_p_value():
    check = check_matching(Features(features(), features(seed=1)), 100.0)
    assert check.status == Status.WARNING
    assert "of 16 pictures (p 0." in check.measured or "(p 1)" in check.measured
    assert "everyday objects" in check.fix


def test_equal_features_are_no_hits():
    """A tie is not a hit, or a collapsed model would be right about every picture."""
    assert match(np.ones((16, 4), np.float32), np.ones((16, 4), np.float32), 100.0).hits == 0


def test_a_model_without_texts_is_not_judged():
    assert check_matching(Features(features(), None), 1.0).status == Status.NOT_APPLICABLE
