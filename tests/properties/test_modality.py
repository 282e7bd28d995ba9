"""Tests of modality gap, alignment and uniformity against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties import modality
from pytest_clip_robust.scoring.rankings import CaptionedImages


def captioned(images, captions, pairs):
    return CaptionedImages(
        dataset="set",
        images=np.asarray(images, np.float32),
        captions=np.asarray(captions, np.float32),
        pairs=np.asarray(pairs),
        image_names=[f"{i}.jpg" for i in range(len(images))],
        texts=[f"caption {i}" for i in range(len(captions))],
    )


def random_set(n=60, per_image=3, *, seed=0, width=8, apart=1.0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, width)) + apart
    captions = np.repeat(images, per_image, axis=0) + rng.normal(size=(n * per_image, width)) - 2 * apart
    return captioned(images, captions, np.column_stack([np.repeat(np.arange(n), per_image), np.arange(n * per_image)]))


def unit(rows):
    return torch.nn.functional.normalize(torch.from_numpy(rows).double(), dim=1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(2, 30), st.integers(1, 4))
def test_every_value_equals_its_definition(seed, n, per_image):
    found = random_set(n, per_image, seed=seed)
    images, captions = unit(found.images), unit(found.captions)
    gap = modality.modality_gap(found)
    assert gap.value == pytest.approx(float((images.mean(0) - captions.mean(0)).norm()), abs=1e-6)
    aligned = modality.alignment(found)
    pairs = torch.from_numpy(found.pairs)
    distances = (images[pairs[:, 0]] - captions[pairs[:, 1]]).norm(dim=1) ** 2
    assert aligned.value == pytest.approx(float(distances.mean()), abs=1e-6)
    assert aligned.outcomes == pytest.approx(distances.numpy(), abs=1e-5)
    assert aligned.value == pytest.approx(2 - 2 * aligned.details["mean_cosine"], abs=1e-9)
    for tower, units in (("image", images), ("text", captions)):
        expected = torch.pdist(units).pow(2).mul(-2).exp().mean().log()
        assert modality.uniformity(found, tower).value == pytest.approx(float(expected), abs=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999))
def test_intervals_contain_their_values_and_stay_in_range(seed):
    found = random_set(12, 2, seed=seed)
    for one, low, high in (
        (modality.modality_gap(found), 0, 2),
        (modality.alignment(found), 0, 4),
        (modality.uniformity(found, "image"), -np.inf, 0),
        (modality.uniformity(found, "text"), -np.inf, 0),
    ):
        assert low <= one.interval.low <= one.value <= one.interval.high <= high
        assert one.direction == "lower"


def test_equal_features_of_both_towers_have_no_gap_and_are_aligned():
    axes = np.eye(4)
    found = captioned(axes, axes, np.column_stack([np.arange(4)] * 2))
    assert modality.modality_gap(found).value == 0
    assert modality.alignment(found).value == 0
    assert modality.uniformity(found, "image").value == pytest.approx(-4)


def test_opposite_features_have_the_largest_gap():
    ones = np.ones((5, 3))
    found = captioned(ones, -ones, np.column_stack([np.arange(5)] * 2))
    assert modality.modality_gap(found).value == pytest.approx(2)
    assert modality.alignment(found).value == pytest.approx(4)
    assert modality.uniformity(found, "text").value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "measure",
    [
        modality.modality_gap,
        modality.alignment,
        lambda found: modality.uniformity(found, "image"),
        lambda found: modality.uniformity(found, "text"),
    ],
    ids=["gap", "alignment", "image", "text"],
)
def test_intervals_cover_the_value_of_the_population(measure):
    """Draw 200 samples of 40 images with three captions each from a population of 4,000 images."""
    truth = measure(random_set(4000)).value
    held = []
    for seed in range(1, 201):
        found = measure(random_set(40, seed=seed))
        held.append(found.interval.low <= truth <= found.interval.high)
    assert np.mean(held) > 0.9


def test_uniformity_of_many_features_uses_a_sample(monkeypatch):
    found = random_set(200)
    every = modality.uniformity(found, "text").value
    monkeypatch.setattr(modality, "SAMPLES", 300)
    some = modality.uniformity(found, "text")
    assert some.n == 300
    assert some.value == pytest.approx(every, abs=0.1)
    assert some.value == modality.uniformity(found, "text").value


def test_a_single_image_is_an_error():
    found = captioned(np.ones((1, 3)), np.eye(3)[:2], np.array([[0, 0], [0, 1]]))
    with pytest.raises(MeasurementError, match="uniformity of 'set': 1 image feature; give at least 2"):
        modality.uniformity(found, "image")
    with pytest.raises(MeasurementError, match="give at least 2 images"):
        modality.modality_gap(found)
