"""Reference model: every test also runs for it, just before, and the gate compares with what it measured.

The reference item of a test is the same test with the reference as its model. It runs on the same worker with separate
fixtures and is never reported: anything that a suite or a user's test computes from `model` is computed for both.
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
    """Run `item` for the model `spec` and store on `item` what was measured; a test without a model is skipped."""
    if PARAMETER not in _parameters(item):
        return
    reference_item = _reference_item(item, spec)
    reports = runtestprotocol(reference_item, log=False, nextitem=item)
    failed = next((report for report in reports if report.failed), None)
    why = "" if failed is None else (str(failed.longrepr).strip().splitlines() or ["unknown failure"])[-1]
    item.stash[REFERENCE] = (reference_item.stash[REFERENCE_MEASURED], why)


def is_reference_item(item: pytest.Item) -> bool:
    """Return whether `item` measures the reference for another test."""
    return REFERENCE_MEASURED in item.stash


def note(reference_item: pytest.Item, measurement: Measurement) -> None:
    """Store what a reference item measured."""
    reference_item.stash[REFERENCE_MEASURED][measurement.key] = measurement


def measured(item: pytest.Item, key: str) -> Measurement:
    """Return the reference's measurement `key`.

    Raises:
        BaselineError: the reference item of `item` failed, or did not measure it.
    """
    found, why = item.stash.get(REFERENCE, ({}, ""))
    if key not in found:
        raise BaselineError(
            f"the reference could not be measured: {why or f'its run of this test did not measure {key}'}"
        )
    return found[key]


def failure(item: pytest.Item) -> str:
    """Return why the reference item of `item` failed, or ``""``."""
    return item.stash.get(REFERENCE, ({}, ""))[1]


def _reference_item(item: Any, spec: ModelSpec) -> pytest.Function:
    """Return the same test with another parameter. pytest has no public way to do so (pytest-dev/pytest#7005)."""
    parameters = replace(item.callspec, params={**item.callspec.params, PARAMETER: spec})
    reference_item: pytest.Function = pytest.Function.from_parent(
        item.parent,
        name=f"{item.name} for the reference",
        originalname=item.originalname,
        callspec=parameters,
        fixtureinfo=item._fixtureinfo,  # noqa: SLF001
    )
    reference_item.stash[REFERENCE_MEASURED] = {}
    return reference_item


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params
