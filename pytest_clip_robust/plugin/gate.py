"""What stands behind the `gate` fixture: a measurement is held against threshold, baseline and reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import BaselineError, ClipRobustError
from pytest_clip_robust.gates import (
    Change,
    Earlier,
    Judgement,
    Threshold,
    Verdict,
    change_since,
    earlier_from,
    explain,
    find_tolerance,
    judge,
    most_specific,
    tolerance_from_value,
)
from pytest_clip_robust.gates.baseline_files import pack
from pytest_clip_robust.gates.record import junit_properties, record_judgement
from pytest_clip_robust.gates.regression import differences
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.plugin import keys, reference
from pytest_clip_robust.plugin.baselines import Asserted, Candidate, assert_baseline
from pytest_clip_robust.plugin.keys import BASELINE_FOLDER, GATED, RECORDS, RUN, UPDATES

NONE_YET = (
    "no baseline yet, and --clip-strict lets nothing pass that is not compared; record one with --snapshot-update"
)


class Gate:
    """Called with a measurement, it records the verdict and fails the test if that is none to release with."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._item: pytest.Item = request.node
        self._run = request.config.stash[RUN]

    def __call__(
        self,
        measurement: Measurement,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        tolerance: float | None = None,
    ) -> None:
        """Hold `measurement` against the profile's threshold and against its baseline, or the reference model.

        `at_least`, `at_most` and `tolerance` (in the units of the value) stand before the profile's. A process that
        only encodes its share judges nothing.
        """
        if reference.is_reference_item(self._item):
            reference.note(self._item, measurement)
            return
        if self._run.rank is not None:
            if why := reference.failure(self._item):
                raise BaselineError(f"the reference could not be measured: {why}")
            return
        threshold = _inline_threshold(at_least, at_most, self._item.nodeid)
        if threshold is None:
            threshold = most_specific(measurement, self._run.profile.thresholds)
        if tolerance is None:
            tolerance = find_tolerance(measurement, self._run.profile.tolerances)
        else:
            tolerance = tolerance_from_value(tolerance, key=measurement.metric, source=_test_of(self._item.nodeid))
        objection, held = "", Asserted()
        try:
            held = self._hold(measurement, tolerance)
        except ClipRobustError as error:
            objection = str(error)
        if self._run.strict and not objection and not held.known:
            objection = NONE_YET
        self._settle(judge(measurement, threshold, held.change, objection=objection), held)

    def _hold(self, measurement: Measurement, tolerance: float) -> Asserted:
        """Compare with the reference where there is one, and with the stored baseline otherwise or to record one."""
        config = self._request.config
        alpha = self._run.alpha / len(config.stash[GATED])
        updating = bool(config.getoption("update_snapshots", default=False))

        def compare(earlier: Earlier, *, across_models: bool = False) -> Change:
            objections = differences(earlier, measurement, across_models=across_models)
            if objections:
                way_out = "" if across_models else "; measure as it was, or record anew with --snapshot-update"
                raise BaselineError(f"{earlier.name} does not compare: {'; '.join(objections)}{way_out}")
            return change_since(measurement, earlier, tolerance=tolerance, alpha=alpha)

        held = Asserted()
        # Without syrupy (`-p no:syrupy`) there are no baselines; a run may want only thresholds, or a reference.
        stored = config.pluginmanager.hasplugin("syrupy")
        folder = baseline_folder(self._run, model_spec(self._item)) if stored else None
        if folder is not None and (is_recording(config) or self._run.reference is None):
            self._item.stash[BASELINE_FOLDER] = folder
            candidate = Candidate(measurement=measurement, compare=compare, updating=updating)
            held = assert_baseline(self._request.getfixturevalue("snapshot"), candidate)
        if self._run.reference is None:
            return held
        other = reference.measured(self._item, measurement.key)
        earlier = earlier_from(other, name=f"reference {self._run.reference.label}")
        return Asserted(change=compare(earlier, across_models=True), update=held.update, known=True)

    def _settle(self, judgement: Judgement, held: Asserted) -> None:
        fails = judgement.verdict.fails(strict=self._run.strict)
        message = "" if judgement.verdict in {Verdict.PASSED, Verdict.IMPROVED} else explain(judgement)
        record = record_judgement(judgement, model=model_label(self._item), message=message, failed=fails)
        record["known"] = held.known
        record["place"] = self._request.config.stash[GATED][self._item.nodeid]
        self._item.stash.setdefault(RECORDS, []).append(record)
        self._item.user_properties.extend(junit_properties(record))
        if held.update is not None:
            self._item.stash.setdefault(UPDATES, []).append(pack(held.update))
        if fails:
            pytest.fail(message, pytrace=False)


def is_recording(config: pytest.Config) -> bool:
    """Tell whether syrupy is asked to record baselines, all or those that are new."""
    return any(config.getoption(flag, default=False) for flag in ("update_snapshots", "update_new_snapshots_only"))


def baseline_folder(run: RunConfig, spec: ModelSpec | None) -> Path | None:
    """Return the folder of a model's baselines: that of its family, never of a checkpoint; None where it has none."""
    name = run.baseline_name or ("" if spec is None else spec.family)
    return run.baselines / name if name else None


def model_spec(item: pytest.Item) -> ModelSpec | None:
    """Return which model a test measures."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(keys.PARAMETER)


def model_label(item: pytest.Item) -> str:
    """Name the model that a test measures, or ``""``."""
    spec = model_spec(item)
    return "" if spec is None else spec.label


def short_name(name: str, label: str) -> str:
    """Take a model's label out of a test's name; it has a column of its own."""
    return name.replace(f"{label}-", "", 1).replace(f"[{label}]", "", 1)


def _inline_threshold(at_least: float | None, at_most: float | None, nodeid: str) -> Threshold | None:
    bounds = {name: bound for name, bound in (("at_least", at_least), ("at_most", at_most)) if bound is not None}
    return Threshold(**bounds, source=_test_of(nodeid)) if bounds else None


def _test_of(nodeid: str) -> str:
    return f"the test {nodeid.rpartition('::')[2]}"
