"""Visual factors: accuracy on images that differ from the prototype of their class in one factor."""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import visual_factors

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("factors")]


@pytest.fixture
def annotated(model, dataset, factor):
    """Return the predictions; skip the test if the set does not annotate the factor."""
    predictions = model.zero_shot(dataset)
    if factor not in predictions.annotations:
        pytest.skip(f"{dataset!r} does not annotate {factor!r}")
    return predictions


@pytest.mark.parametrize("factor", visual_factors.FACTORS)
def test_factor_accuracy(annotated, factor, gate):
    gate(visual_factors.accuracy(annotated, factor))


@pytest.mark.parametrize("factor", visual_factors.FACTORS)
def test_error_ratio(annotated, factor, gate):
    gate(visual_factors.error_ratio(annotated, factor))


def test_average(model, dataset, gate):
    gate(visual_factors.average(model.zero_shot(dataset)))


def test_worst_factor(model, dataset, gate):
    gate(visual_factors.worst_factor(model.zero_shot(dataset)))
