"""Invariance: up to which strength do answers stay the same under changes that should not matter?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.names import TEXT_CHANGES, TRANSFORMATIONS
from pytest_clip_robust.properties import invariance

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("invariance")]


def test_agreement(model, dataset, gate):
    gate(invariance.agreement(model.invariance.agreement(dataset)))


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_agreement_under(model, dataset, transformation, gate):
    gate(invariance.agreement_under(model.invariance.agreement_under(dataset, transformation)))


@pytest.mark.parametrize("transformation", invariance.SEARCHED)
def test_radius(model, dataset, transformation, gate):
    gate(invariance.radius(model.invariance.breaking_steps(dataset, transformation)))


def test_combinations(model, dataset, stored_columns, gate):
    known = invariance.stored_combination(stored_columns(f"{invariance.COMBINATIONS.id}[{dataset}]"))
    gate(invariance.combination_agreement(model.invariance.combinations(dataset, known=[known] if known else [])))


@pytest.mark.parametrize("change", TEXT_CHANGES)
def test_changed_prompts(model, dataset, change, gate):
    gate(invariance.text_agreement(model.invariance.changed_prompts(dataset, change)))
