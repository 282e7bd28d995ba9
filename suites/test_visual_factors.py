"""Visual factors: accuracy where one thing about the image differs from the prototype of its class."""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import visual_factors

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("factors")]


@pytest.fixture
def annotated(model, dataset, factor):
    """Give the predictions, if the set annotates the factor at all."""
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
