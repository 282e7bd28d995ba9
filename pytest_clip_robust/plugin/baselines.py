"""Baselines as syrupy snapshots: its flags say what to do, this extension says how.

Where syrupy's rules would lose a baseline, they are switched off for this extension alone. A snapshot that was not
asserted is not obsolete: a run with fewer sets, a crash or ``-k`` would delete it. And no test writes: what is to be
recorded leaves with the test's report, and the process that owns the terminal writes it when all is over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from syrupy.assertion import SnapshotAssertion
from syrupy.data import Snapshot, SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension
from syrupy.location import PyTestLocation

from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.gates.baseline_files import (
    Column,
    Entry,
    Update,
    columns_of,
    entry_of,
    read_columns,
    read_entries,
)
from pytest_clip_robust.gates.regression import Change, Earlier, Trend, with_columns
from pytest_clip_robust.plugin.keys import BASELINE_FOLDER
from pytest_clip_robust.stats.intervals import LEVEL
from pytest_clip_robust.system.versions import installed_versions

PACKAGES = ("torch", "open_clip_torch", "timm", "numpy")
"""Their versions may move a number in its last digits."""

Compare = Callable[[Earlier], Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a test asserts: a measurement, and how it is held against an earlier one."""

    measurement: Measurement
    compare: Compare
    updating: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """What came of it: a change where a baseline was compared, and an update where one is to be recorded.

    known: whether there is a baseline now, compared, recorded or found to be the same to the last digit.
    """

    change: Change | None = None
    update: Update | None = None
    known: bool = False


class BaselineExtension(AbstractSyrupyExtension):
    """Stores one measurement a snapshot, named by its key, in the JSON file of its suite; compares with statistics."""

    file_extension = "json"

    def __init__(self) -> None:
        self.change: Change | None = None
        self._candidate: Candidate | None = None
        self._path = Path()

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """Return the folder of the model under test."""
        return str(test_location.item.stash[BASELINE_FOLDER])

    @classmethod
    def discovery_dirname(cls, **_: Any) -> str:
        """Name no folder: syrupy asks for that of tests that never ran as well, and nothing is discovered anyway."""
        return ""

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: Any = 0) -> str:
        """Return ``test[key]``: syrupy wants to find the test's name in it."""
        return f"{test_location.methodname}[{index}]"

    def serialize(self, data: Candidate, **_: Any) -> str:
        """Return the entry as text; `matches`, which is given text alone, finds the measurement here."""
        self._candidate = data
        return _text(entry_of(data.measurement, versions=versions()))

    def matches(self, *, serialized_data: str, snapshot_data: str) -> bool:
        """Tell whether it got no worse; while updating, whether it is the same to the last digit that is stored."""
        candidate = self._candidate
        assert candidate is not None  # noqa: S101 - syrupy serialises before it compares
        if candidate.updating:
            return serialized_data == snapshot_data
        self.change = candidate.compare(self._earlier(json.loads(snapshot_data), candidate.measurement))
        return self.change.trend is not Trend.WORSE

    def discover_snapshots(self, **_: Any) -> SnapshotCollections:
        """Find none, so that syrupy never takes one for unused."""
        return SnapshotCollections()

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        """Name the snapshots of a file."""
        collection = SnapshotCollection(location=snapshot_location)
        for key in entries_in(Path(snapshot_location)):
            collection.add(Snapshot(name=key))
        return collection

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> str | None:
        """Return an entry as text, or None where there is none."""
        del session_id
        path = Path(snapshot_location)
        entry = entries_in(path).get(snapshot_name[snapshot_name.index("[") + 1 : -1])
        if entry is None:
            return None
        self._path = path
        return _text(entry)

    @classmethod
    def write_snapshot_collection(cls, *, snapshot_collection: SnapshotCollection, name_order: Any = None) -> None:
        """Write nothing: the update goes with the test's report to the process that writes."""

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        """Delete nothing: no run knows that a baseline is obsolete."""

    def _earlier(self, entry: Entry, measurement: Measurement) -> Earlier:
        run = entry["run"]
        columns = columns_in(self._path.with_suffix(".parquet")).get(entry["outcomes"], ())
        return Earlier(
            name=f"baseline {self._path.parent.name}/{self._path.name}",
            value=entry["value"],
            interval=Interval(entry["low"], entry["high"], LEVEL, "baseline"),
            n=entry["n"],
            provenance=Provenance(
                model=run["model"],
                weights=run["weights"],
                preprocess=run["preprocess"],
                precision=run["precision"],
                data=entry["data"],
                prompts=entry["prompts"],
            ),
            evidence=with_columns(measurement, columns),
        )


def assert_baseline(snapshot: SnapshotAssertion, candidate: Candidate) -> Asserted:
    """Assert `candidate` as a snapshot of syrupy's, and say what came of it.

    Without a baseline and without a flag to record one nothing is asserted: syrupy would count a failure.

    Raises:
        ClipRobustError: the baseline is damaged, or does not compare.
    """
    assertion = snapshot.use_extension(BaselineExtension)
    key = candidate.measurement.key
    location = Path(BaselineExtension.get_location(test_location=snapshot.test_location, index=key))
    recording = snapshot.update_snapshots or snapshot.update_new_snapshots_only
    if not recording and key not in entries_in(location):
        return Asserted()
    _ = assertion(name=key) == candidate
    (result,) = assertion.executions.values()
    if result.exception is not None:
        raise result.exception
    extension = assertion.extension
    assert isinstance(extension, BaselineExtension)  # noqa: S101 - what it was made with
    written = result.created or result.updated
    update = _update(location, candidate.measurement) if written else None
    return Asserted(change=extension.change, update=update, known=True)


@cache
def versions() -> dict[str, str]:
    """Name the versions that a baseline was recorded with."""
    return installed_versions(PACKAGES)


def entries_in(path: Path) -> dict[str, Entry]:
    """Read a JSON file once for as long as it does not change."""
    return _read_entries(path, _stamp(path))


def columns_in(path: Path) -> dict[str, tuple[Column, ...]]:
    """Read a Parquet file once for as long as it does not change."""
    return _read_columns(path, _stamp(path))


@lru_cache(maxsize=32)
def _read_entries(path: Path, _: object) -> dict[str, Entry]:
    return read_entries(path)


@lru_cache(maxsize=4)
def _read_columns(path: Path, _: object) -> dict[str, tuple[Column, ...]]:
    return read_columns(path)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _text(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True)


def _update(path: Path, measurement: Measurement) -> Update:
    return Update(
        path=path,
        key=measurement.key,
        entry=entry_of(measurement, versions=versions()),
        columns=columns_of(measurement.evidence),
    )
