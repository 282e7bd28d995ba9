"""Zero-shot accuracy: in distribution, on sets with other classes, and under natural shift."""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import accuracy, effective_robustness, shift

pytestmark = pytest.mark.clip_suite


@pytest.mark.clip_role("id")
@pytest.mark.parametrize("k", [1, 5], ids=["top1", "top5"])
def test_accuracy(model, dataset, k, gate):
    predictions = model.zero_shot(dataset)
    if k >= len(predictions.class_names):
        pytest.skip(f"top-{k} is not defined among {len(predictions.class_names)} classes")
    gate(accuracy.top_k(predictions, k=k))


@pytest.mark.clip_role("id")
def test_mean_per_class(model, dataset, gate):
    gate(accuracy.mean_per_class(model.zero_shot(dataset)))


@pytest.mark.clip_role("transfer")
def test_transfer(model, dataset, gate):
    gate(accuracy.top_k(model.zero_shot(dataset), k=1))


@pytest.mark.clip_role("shift")
def test_accuracy_under_shift(model, dataset, gate):
    gate(shift.accuracy_under_shift(model.zero_shot(dataset)))


@pytest.mark.clip_role("shift")
def test_relative_robustness(model, dataset, id_set, gate):
    gate(shift.relative_robustness(model.zero_shot(id_set), model.zero_shot(dataset)))


@pytest.mark.clip_role("shift")
def test_effective_robustness(model, dataset, id_set, panel, gate):
    gate(shift.effective_robustness(model.zero_shot(id_set), model.zero_shot(dataset), panel))


@pytest.mark.clip_role("shift", "transfer")
def test_effective_robustness_against_published_models(model, dataset, id_set, panel_line, gate):
    gate(effective_robustness.above_published(model.zero_shot(id_set), model.zero_shot(dataset), panel_line))
