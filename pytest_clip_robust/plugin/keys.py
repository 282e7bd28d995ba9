"""Stash keys: what the plugin keeps on pytest's config and on its items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_clip_robust.config.run import RunConfig
    from pytest_clip_robust.core.measurement import Measurement
    from pytest_clip_robust.evaluation.model import EvaluatedModel
    from pytest_clip_robust.evaluation.session import Session
    from pytest_clip_robust.gates.record import Record
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.plugin.parallel.capacity import Capacity

PARAMETER = "clip_model_spec"
"""The test parameter that holds the model spec."""

TURNS = "clip_robust_turns"
"""The entry of xdist's `workerinput` that names the folder of the lock files that workers share."""

RUN: pytest.StashKey[RunConfig] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()
CAPACITY: pytest.StashKey[Capacity] = pytest.StashKey()

MODELS: pytest.StashKey[dict[ModelSpec, EvaluatedModel]] = pytest.StashKey()
"""Models that are loaded. A session fixture keeps only its last value, and a reference alternates with the model."""

GATED: pytest.StashKey[dict[str, int]] = pytest.StashKey()
"""Node ids of the tests with a gate, each with its position in the collection; alpha is divided by their number."""

RECORDS: pytest.StashKey[list[Record]] = pytest.StashKey()
"""Of a test: the records of its gates, until its report takes them."""

UPDATES: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Of a test: the baselines to record, until its report takes them."""

BASELINE_FOLDER: pytest.StashKey[Path] = pytest.StashKey()
"""Of a test: the folder of its model's baselines."""

REFERENCE_MEASURED: pytest.StashKey[dict[str, Measurement]] = pytest.StashKey()
"""Of a test that runs for the reference: what it measured, by key."""

REFERENCE: pytest.StashKey[tuple[dict[str, Measurement], str]] = pytest.StashKey()
"""Of a test: what the reference measured in it, and why that failed, or ``""``."""
