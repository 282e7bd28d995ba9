"""Properties of a test item: the model that it measures, and whether it has a gate."""

from __future__ import annotations

import pytest

from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.plugin.keys import PARAMETER


def model_spec(item: pytest.Item) -> ModelSpec | None:
    """Return the model that a test measures, or None."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(PARAMETER)


def model_label(item: pytest.Item) -> str:
    """Return the label of the model that a test measures, or ``""``."""
    spec = model_spec(item)
    return "" if spec is None else spec.label


def short_name(name: str, label: str) -> str:
    """Return a test's name without the model's label, which has a separate column."""
    return name.replace(f"{label}-", "", 1).replace(f"[{label}]", "", 1)


def has_gate(item: pytest.Item) -> bool:
    """Return whether a test requests the fixture `gate`, itself or through its fixtures."""
    return "gate" in getattr(item, "fixturenames", ())
