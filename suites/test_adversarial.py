"""Attacks through the model's own gradients: which right answers survive changes that cannot be seen?

Only profiles with the role `adversarial` run it; ``-m clip_adversarial`` runs nothing else.
"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import adversarial

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_adversarial, pytest.mark.clip_role("adversarial")]


@pytest.mark.parametrize("budget", adversarial.BUDGETS)
def test_accuracy_under_attack(model, dataset, budget, gate):
    gate(adversarial.accuracy(model.adversarial.answers(dataset), budget))
