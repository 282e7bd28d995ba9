"""Prompts: how much does each number depend on the wording of the prompts?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import prompts

pytestmark = pytest.mark.clip_suite

SCORE = "mcm"
"""The OOD score that the study uses."""


@pytest.fixture(params=["spread", "fewer_templates"])
def compare(model, request):
    """Return the comparison of the prompt sets; skip the test if the profile names none."""
    if len(model.prompts.compared) < 2:
        pytest.skip("nothing to compare: name prompt sets in the profile's prompts.compare")
    return getattr(prompts, request.param)


@pytest.mark.clip_role("id")
def test_agreement(model, dataset, gate):
    answers = model.prompts.template_answers(dataset)
    if answers.answers.shape[1] == 1:
        pytest.skip("the profile's prompt set has a single template, which agrees with itself")
    gate(prompts.agreement(answers))


@pytest.mark.clip_role("id", "shift")
def test_accuracy(model, dataset, compare, gate):
    gate(compare(prompts.top1(model.prompts.decisions(dataset))))


@pytest.mark.clip_role("id", "shift")
def test_calibration(model, dataset, compare, gate):
    gate(compare(prompts.ece(model.prompts.confidences(dataset))))


@pytest.mark.clip_role("ood")
def test_ood_detection(model, dataset, id_set, compare, gate):
    gate(compare(prompts.auroc(model.prompts.ood_scores(SCORE, dataset, id_set=id_set))))


@pytest.mark.clip_role("factors")
def test_factors(model, dataset, compare, gate):
    gate(compare(prompts.top1(model.prompts.decisions(dataset), name="factor_average")))
