"""Stash keys for pytest's config and items, and names of entries that workers exchange."""

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

PARAMETER = "clip_model_spec"
"""The test parameter that holds the model spec."""

TURNS = "clip_robust_turns"
"""The entry of xdist's `workerinput` that names the folder of the lock files that workers share."""

FINDING = "clip_finding"
"""The user property of a test that a finding on the panel decides: the finding's name."""

RUN: pytest.StashKey[RunConfig] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()

MODELS: pytest.StashKey[dict[ModelSpec, EvaluatedModel]] = pytest.StashKey()
"""Loaded models. A session fixture keeps only its last value, and the reference alternates with the model."""

GATED: pytest.StashKey[dict[str, int]] = pytest.StashKey()
"""Position in the collection of every test with a gate, by node id."""

ALPHA: pytest.StashKey[float] = pytest.StashKey()
"""The largest p-value of a gate that can be significant: ``--clip-alpha``; by Bonferroni's correction, divided by the
number of tests with a gate that are not skipped."""

RECORDS: pytest.StashKey[list[Record]] = pytest.StashKey()
"""Of a test: the records of its gates, until they are moved to its report."""

OUTCOMES: pytest.StashKey[list[tuple[str, list[list[str]]]]] = pytest.StashKey()
"""Of a test: (measurement's key, packed columns) pairs that findings on a panel compare, until moved to its report."""

UPDATES: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Of a test: the baselines to record, until they are moved to its report."""

BASELINE_FILE: pytest.StashKey[Path] = pytest.StashKey()
"""Of a test: the file of its model's baselines."""

REFERENCE_MEASURED: pytest.StashKey[dict[str, Measurement]] = pytest.StashKey()
"""Of a reference item: what it measured, by key."""

REFERENCE: pytest.StashKey[tuple[dict[str, Measurement], str]] = pytest.StashKey()
"""Of a test: what its reference item measured, and why that failed, or ``""``."""
