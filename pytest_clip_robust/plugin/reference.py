"""The reference model: every test is run for it as well, just before, and its measurements are kept for the gate.

A test's twin is the same test with the reference in the place of its model. It runs on the same worker, with fixtures
of its own, and is never reported: whatever a suite or a user's own test computes from `model` is computed for both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.plugin.keys import PARAMETER, REFERENCE, REFERENCE_MEASURED


def run_for_reference(item: pytest.Item, spec: ModelSpec) -> None:
    """Run `item` for the model `spec` and note on `item` what was measured; tests without a model have no twin."""
    if PARAMETER not in _parameters(item):
        return
    twin = _reference_item(item, spec)
    reports = runtestprotocol(twin, log=False, nextitem=item)
    failed = next((report for report in reports if report.failed), None)
    why = "" if failed is None else (str(failed.longrepr).strip().splitlines() or ["unknown failure"])[-1]
    item.stash[REFERENCE] = (twin.stash[REFERENCE_MEASURED], why)


def is_reference_item(item: pytest.Item) -> bool:
    """Tell whether `item` measures the reference for another test."""
    return REFERENCE_MEASURED in item.stash


def note(twin: pytest.Item, measurement: Measurement) -> None:
    """Keep what a twin measured."""
    twin.stash[REFERENCE_MEASURED][measurement.key] = measurement


def measured(item: pytest.Item, key: str) -> Measurement:
    """Return the reference's measurement `key`.

    Raises:
        BaselineError: the twin failed before, or never measured it.
    """
    found, why = item.stash.get(REFERENCE, ({}, ""))
    if key not in found:
        raise BaselineError(f"the reference could not be measured: {why or f'its run of this test gated no {key}'}")
    return found[key]


def failure(item: pytest.Item) -> str:
    """Say why the twin of `item` failed, or ``""``."""
    return item.stash.get(REFERENCE, ({}, ""))[1]


def _reference_item(item: Any, spec: ModelSpec) -> pytest.Function:
    """Make the same test with another parameter. pytest has no public way to (pytest-dev/pytest#7005)."""
    parameters = replace(item.callspec, params={**item.callspec.params, PARAMETER: spec})
    twin: pytest.Function = pytest.Function.from_parent(
        item.parent,
        name=f"{item.name} for the reference",
        originalname=item.originalname,
        callspec=parameters,
        fixtureinfo=item._fixtureinfo,  # noqa: SLF001
    )
    twin.stash[REFERENCE_MEASURED] = {}
    return twin


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params
