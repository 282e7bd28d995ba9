"""Reliance on backgrounds: accuracy on common and on uncommon ones, and what the change costs."""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import backgrounds

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("backgrounds")]


@pytest.mark.parametrize("group", backgrounds.GROUPS)
def test_accuracy_by_background(model, dataset, group, gate):
    gate(backgrounds.accuracy(model.zero_shot(dataset), group))


def test_loss_by_background(model, dataset, gate):
    gate(backgrounds.drop(model.zero_shot(dataset)))
