from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.zero_shot import zero_shot_logits, zero_shot_weights

CLASSES, TEMPLATES, DIMENSIONS = 4, 3, 5


def arrays(rows):
    """Return (rows, 5) features whose norms and whose means' norms are not zero."""
    numbers = st.floats(0.125, 8, width=32)
    return hnp.arrays(np.float32, (rows, DIMENSIONS), elements=numbers)


def reference_weights(features, n_classes):
    """Return the logits of the zero-shot protocol, computed with loops."""
    weights = []
    for rows in np.split(features.astype(np.float64), n_classes):
        mean = np.mean([row / np.linalg.norm(row) for row in rows], axis=0)
        weights.append(mean / np.linalg.norm(mean))
    return np.array(weights)


@given(arrays(CLASSES * TEMPLATES))
@settings(deadline=None)
def test_class_weights_are_unit_means_of_unit_text_features(features):
    weights = zero_shot_weights(features, CLASSES)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, reference_weights(features, CLASSES), rtol=1e-6)


@given(
    arrays(CLASSES * TEMPLATES),
    hnp.arrays(np.float32, CLASSES * TEMPLATES, elements=st.floats(2**-20, 2**20, width=32)),
)
@settings(deadline=None)
def test_the_norm_of_text_features_does_not_matter(features, lengths):
    scaled = features * lengths[:, None]
    np.testing.assert_allclose(zero_shot_weights(scaled, CLASSES), zero_shot_weights(features, CLASSES), rtol=1e-5)


@given(arrays(CLASSES * TEMPLATES), st.permutations(range(TEMPLATES)))
@settings(deadline=None)
def test_the_order_of_templates_does_not_matter(features, order):
    reordered = features.reshape(CLASSES, TEMPLATES, -1)[:, order].reshape(features.shape)
    np.testing.assert_allclose(zero_shot_weights(reordered, CLASSES), zero_shot_weights(features, CLASSES), rtol=1e-6)


@given(arrays(CLASSES * TEMPLATES), arrays(6), st.permutations(range(CLASSES)))
@settings(deadline=None)
def test_permuted_classes_permute_the_logits(texts, images, order):
    permuted = texts.reshape(CLASSES, TEMPLATES, -1)[order].reshape(texts.shape)
    logits = zero_shot_logits(images, zero_shot_weights(texts, CLASSES), scale=1.0, bias=0.0)
    moved = zero_shot_logits(images, zero_shot_weights(permuted, CLASSES), scale=1.0, bias=0.0)
    np.testing.assert_allclose(moved, logits[:, order], rtol=1e-5)


@given(arrays(6), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_the_norm_of_image_features_does_not_matter(images, length):
    weights = np.eye(DIMENSIONS, dtype=np.float32)
    logits = zero_shot_logits(images, weights, scale=1.0, bias=0.0)
    scaled = zero_shot_logits(images * np.float32(length), weights, scale=1.0, bias=0.0)
    np.testing.assert_allclose(scaled, logits, rtol=1e-5)


@given(arrays(6), arrays(CLASSES), st.floats(0.5, 120), st.floats(-20, 20))
@settings(deadline=None)
def test_logits_are_scale_times_cosine_plus_bias(images, texts, scale, bias):
    weights = zero_shot_weights(texts, CLASSES)
    cosines = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float64) @ weights.T.astype(np.float64)
    logits = zero_shot_logits(images, weights, scale=scale, bias=bias)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, scale * cosines + bias, rtol=1e-5, atol=1e-4)


def test_chunked_logits_equal_the_full_product():
    images = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)
    weights = zero_shot_weights(images[:3], 3)
    logits = zero_shot_logits(images, weights, scale=1.0, bias=0.0)
    expected = images / np.linalg.norm(images, axis=1, keepdims=True) @ weights.T
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_logits_take_little_more_memory_than_the_result():
    images = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
    weights = zero_shot_weights(images[:500], 500)
    tracemalloc.start()
    logits = zero_shot_logits(images, weights, scale=1.0, bias=0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.15 * logits.nbytes


@pytest.mark.parametrize(
    ("shape", "n_classes"), [((6, 4), 4), ((0, 4), 1), ((6,), 2), ((6, 4), 0)], ids=["ragged", "empty", "flat", "none"]
)
def test_text_features_that_do_not_fit_the_classes_are_an_error(shape, n_classes):
    with pytest.raises(MeasurementError) as error:
        zero_shot_weights(np.ones(shape, np.float32), n_classes)
    assert str(error.value) == (
        f"text features of shape {shape} for {n_classes} classes: expected as many rows as classes times templates"
    )


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_text_feature_without_a_finite_norm_is_an_error(value):
    features = np.ones((3, 2), np.float32)
    features[1] = value
    with pytest.raises(MeasurementError, match=r"^text feature 1 has norm (0|nan|inf), so it cannot be normalised"):
        zero_shot_weights(features, 3)


def test_templates_whose_mean_is_zero_are_an_error():
    with pytest.raises(MeasurementError, match=r"^class feature 0 has norm 0"):
        zero_shot_weights(np.array([[1, 0], [-1, 0]], np.float32), 1)


def test_an_image_feature_with_norm_zero_is_an_error():
    with pytest.raises(MeasurementError, match=r"^image feature 1 has norm 0"):
        zero_shot_logits(np.array([[1, 0], [0, 0]], np.float32), np.eye(2, dtype=np.float32), scale=1.0, bias=0.0)


def test_image_and_text_features_of_different_widths_are_an_error():
    with pytest.raises(MeasurementError) as error:
        zero_shot_logits(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32), scale=1.0, bias=0.0)
    assert str(error.value) == (
        "image features of shape (2, 3) and class weights of shape (2, 4): expected the same number of columns"
    )


def test_classes_with_more_names_have_more_prompts():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 5)).astype(np.float32)
    weights = zero_shot_weights(features, 3, sizes=[2, 6, 1])
    for row, part in zip(weights, (features[:2], features[2:8], features[8:]), strict=True):
        mean = (part / np.linalg.norm(part, axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-5)


def test_equal_sizes_give_the_same_result_as_no_sizes():
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.testing.assert_array_equal(zero_shot_weights(features, 4, sizes=[3] * 4), zero_shot_weights(features, 4))


@pytest.mark.parametrize("sizes", [[2, 2, 2], [1, 8], [9, 0, 0]])
def test_sizes_that_do_not_add_up_are_an_error(sizes):
    with pytest.raises(MeasurementError, match="expected as many rows as classes times templates"):
        zero_shot_weights(np.ones((9, 4), np.float32), 3, sizes=sizes)
