"""Gate behind the `gate` fixture: judges a measurement by its threshold and its baseline or reference.

A threshold is judged at once. Whether a loss is more than noise depends on the other gates of the run, so the process
that owns the terminal decides it at the end (`gates.families`), but with ``--clip-correction bonferroni``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest

from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.core.plain import NotNegative, read_section, read_value
from pytest_clip_robust.errors import BaselineError, ClipRobustError, MeasurementError
from pytest_clip_robust.gates import (
    Baseline,
    Change,
    Judgement,
    Threshold,
    Verdict,
    baseline_from,
    change_since,
    explain,
    find_tolerance,
    is_headline,
    judge,
    most_specific,
)
from pytest_clip_robust.gates.baseline_files import columns_of, pack, pack_columns
from pytest_clip_robust.gates.record import junit_properties, record_judgement
from pytest_clip_robust.gates.regression import incompatibilities
from pytest_clip_robust.plugin import reference
from pytest_clip_robust.plugin.baseline_folders import baseline_folder, how_to_compare, is_recording
from pytest_clip_robust.plugin.baselines import Compared, check_baseline
from pytest_clip_robust.plugin.items import model_label, model_spec
from pytest_clip_robust.plugin.keys import ALPHA, BASELINE_FILE, GATED, OUTCOMES, RECORDS, RUN, UPDATES
from pytest_clip_robust.properties.findings.paired import PAIRED


class Gate:
    """A callable that records the verdict on a measurement, and fails the test if the verdict forbids a release."""

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
        """Judge `measurement` by the profile's threshold and by its baseline, or the reference model.

        `at_least`, `at_most` and `tolerance` (in the units of the value) take precedence over the profile's. A process
        that only encodes its share of the samples judges nothing.
        """
        if reference.is_reference_item(self._item):
            reference.note(self._item, measurement)
            return
        if self._run.rank is not None:
            if why := reference.failure(self._item):
                raise BaselineError(f"the reference could not be measured: {why}")
            return
        _check_finite(measurement)
        source = f"the test {self._item.nodeid.rpartition('::')[2]}"
        where = f"gate({measurement.metric}) in {source}"
        bounds = {name: bound for name, bound in (("at_least", at_least), ("at_most", at_most)) if bound is not None}
        threshold = most_specific(measurement, self._run.profile.thresholds)
        if bounds:
            threshold = read_section(Threshold, bounds, where=where, source=source)
        if tolerance is None:
            tolerance = find_tolerance(measurement, self._run.profile.tolerances)
        tolerance = read_value(NotNegative, tolerance, where=f"{where}: tolerance")
        chosen = self._run.profile.gates.headline
        headline = is_headline(measurement, None if chosen is None else set(chosen))
        measurement = replace(measurement, tolerance=tolerance, headline=headline)
        objection, compared = "", Compared()
        try:
            compared = self._compare(measurement)
        except ClipRobustError as error:
            objection = str(error)
        if self._run.strict and not objection and not compared.known:
            way_out = how_to_compare(self._run, model_spec(self._item))
            objection = f"no baseline yet, and --clip-strict fails every gate that has none; {way_out}"
        self._settle(judge(measurement, threshold, compared.change, objection=objection), compared)

    def _compare(self, measurement: Measurement) -> Compared:
        """Compare with the reference if there is one, else with the stored baseline; record one if asked to."""
        config = self._request.config
        decided_at_end = self._run.correction != "bonferroni"
        compare = partial(_change, measurement, alpha=config.stash[ALPHA], decided_at_end=decided_at_end)
        compared = Compared()
        folder = baseline_folder(self._run, model_spec(self._item))
        if folder is not None and (is_recording(config) or self._run.reference is None):
            self._item.stash[BASELINE_FILE] = folder / f"{self._item.path.stem}.json"
            syrupy = config.pluginmanager.hasplugin("syrupy")
            compared = check_baseline(
                self._item,
                measurement,
                compare,
                snapshot=self._request.getfixturevalue("snapshot") if syrupy else None,
                updating=bool(config.getoption("update_snapshots", default=False)),
            )
        if self._run.reference is None:
            return compared
        other = reference.measured(self._item, measurement.key)
        baseline = baseline_from(other, name=f"reference {self._run.reference.label}")
        return Compared(change=compare(baseline, across_models=True), update=compared.update, known=True)

    def _settle(self, judgement: Judgement, compared: Compared) -> None:
        fails = judgement.verdict.fails(strict=self._run.strict)
        record = record_judgement(
            judgement,
            model=model_label(self._item),
            failed=fails,
            known=compared.known,
            test=self._item.nodeid,
            place=self._request.config.stash[GATED][self._item.nodeid],
        )
        if judgement.verdict not in {Verdict.PASSED, Verdict.IMPROVED}:
            record["message"] = explain(record)
        self._item.stash.setdefault(RECORDS, []).append(record)
        self._item.user_properties.extend(junit_properties(record))
        if self._run.panel is not None and judgement.measurement.metric in PAIRED:
            packed = pack_columns(columns_of(judgement.measurement.evidence))
            self._item.stash.setdefault(OUTCOMES, []).append((judgement.measurement.key, packed))
        if compared.update is not None:
            self._item.stash.setdefault(UPDATES, []).append(pack(compared.update))
        if fails:
            pytest.fail(record["message"], pytrace=False)


def _check_finite(measurement: Measurement) -> None:
    """Raise MeasurementError if a number besides the value is not finite; JSON could not hold it."""
    interval = measurement.interval
    numbers = {"interval": [interval.low, interval.high], "details": list(measurement.details.values())}
    numbers |= {f"plot[{name!r}]": list(column) for name, column in measurement.plot.items()}
    for name, values in numbers.items():
        unfit = [float(value) for value in values if not math.isfinite(value)]
        if unfit:
            raise MeasurementError(f"{measurement.key}: {name} contains {unfit[0]}, which cannot be reported")


def _change(
    measurement: Measurement, baseline: Baseline, *, alpha: float, decided_at_end: bool, across_models: bool = False
) -> Change:
    """Return how `measurement` changed since `baseline`.

    Raises:
        BaselineError: they were measured on other data, or in another way.
    """
    differences = incompatibilities(baseline, measurement, across_models=across_models)
    if differences:
        way_out = "" if across_models else "; rerun with the baseline's settings, or re-record with --snapshot-update"
        raise BaselineError(f"{baseline.name} cannot be compared: {'; '.join(differences)}{way_out}")
    return change_since(measurement, baseline, alpha=alpha, decided_at_end=decided_at_end)
