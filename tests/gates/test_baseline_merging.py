"""Partial runs of any kind, in any order, write the baselines that one whole run writes, and never lose an entry."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pytest_clip_robust.core.evidence import auroc_evidence, mean_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates import baseline_files
from pytest_clip_robust.gates.baseline_files import (
    Update,
    columns_of,
    entry_of,
    pack,
    read_columns,
    read_entries,
    record,
    unpack,
)

METRICS = tuple("abcdefg")


def measured(name, recording=0):
    """Return what a gate measured; every third one has scores, and some share their numbers with another."""
    seed = 100 * recording + METRICS.index(name) // 2
    rng = np.random.default_rng(seed)
    if METRICS.index(name) % 3 == 2:
        evidence = auroc_evidence("photos", rng.normal(size=9), "ood", rng.normal(size=7))
    else:
        evidence = mean_evidence("photos", rng.random(9) < 0.5)
    return Measurement(
        metric=f"{name}.x",
        value=float(rng.random()),
        n=9,
        interval=Interval(0.0, 1.0, 0.95, "Wilson"),
        direction="higher",
        tolerance=0.01,
        headline=True,
        dataset="photos",
        evidence=None if name == "g" else evidence,
        provenance=Provenance(
            model="m", weights=f"{recording:064d}", data="d" * 64, prompts="p" * 64, precision="fp32"
        ),
    )


def update(path, name, recording=0):
    found = measured(name, recording)
    entry = entry_of(found, versions={"torch": "2.9"})
    return Update(path=path, key=found.key, entry=entry, columns=columns_of(found.evidence))


def content_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@st.composite
def partitions(draw):
    """Draw the gates of partial runs: together they are all gates, some twice, in any order."""
    runs = draw(st.lists(st.lists(st.sampled_from(METRICS), unique=True), max_size=4))
    rest = [name for name in METRICS if not any(name in run for run in runs)]
    return draw(st.permutations([*runs, rest]))


@given(partitions(), st.booleans())
@settings(max_examples=15)
def test_partial_runs_in_any_order_write_the_files_of_one_whole_run(tmp_path_factory, runs, over_the_wire):
    folder = tmp_path_factory.mktemp("baselines")
    whole, parts = folder / "whole" / "test_x.json", folder / "parts" / "test_x.json"
    record(whole, [update(whole, name) for name in METRICS])
    for names in runs:
        updates = [update(parts, name) for name in names]
        record(parts, [unpack(pack(one)) for one in updates] if over_the_wire else updates)
    assert content_of(parts.parent) == content_of(whole.parent)


class BaselineMachine(RuleBasedStateMachine):
    """One baseline file under partial runs, disks that fail, and kills between the three steps of writing it."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model" / "test_x.json"
        self.expected = {}

    def teardown(self):
        self.folder.cleanup()

    def entry(self, name, recording):
        return entry_of(measured(name, recording), versions={"torch": "2.9"})

    @rule(names=st.lists(st.sampled_from(METRICS), unique=True, max_size=4), recording=st.integers(0, 2))
    def a_partial_run_records(self, names, recording):
        record(self.path, [update(self.path, name, recording) for name in names])
        self.expected |= {f"{name}.x[photos]": self.entry(name, recording) for name in names}

    @rule(
        names=st.lists(st.sampled_from(METRICS), unique=True, min_size=1, max_size=4),
        recording=st.integers(0, 2),
        steps=st.integers(0, 3),
        error=st.sampled_from([OSError(28, "No space left on device"), KeyboardInterrupt()]),
    )
    def a_run_is_interrupted_while_it_writes(self, names, recording, steps, error):
        calls, replace = [], baseline_files._replace

        def interrupted(target, content):
            if len(calls) == steps:
                raise error
            calls.append(target)
            replace(target, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(baseline_files, "_replace", interrupted)
            with contextlib.suppress(BaselineError, KeyboardInterrupt):
                record(self.path, [update(self.path, name, recording) for name in names])
        if any(target.suffix == ".json" for target in calls):
            self.expected |= {f"{name}.x[photos]": self.entry(name, recording) for name in names}

    @invariant()
    def every_entry_is_there_with_its_evidence(self):
        entries = read_entries(self.path)
        assert entries == self.expected
        columns = read_columns(self.path.with_suffix(".parquet"))
        assert all(entry["outcomes"] in columns for entry in entries.values() if entry["outcomes"])

    @invariant()
    def no_temporary_file_stays(self):
        if self.path.parent.exists():
            assert {path.suffix for path in self.path.parent.iterdir()} <= {".json", ".parquet"}


TestBaselines = BaselineMachine.TestCase
TestBaselines.settings = settings(max_examples=10, stateful_step_count=10, deadline=None)
