"""Baselines as syrupy snapshots: syrupy's flags say whether to record or compare, this extension says how.

Two of syrupy's rules would lose baselines, so they are switched off for this extension. A snapshot that was not
asserted is not obsolete: a run with fewer data sets, a crash or ``-k`` would delete it. And no test writes: what is to
be recorded travels with the test's report, and the process that owns the terminal writes it at the end of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import Snapshot, SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension
from syrupy.location import PyTestLocation

from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates.baseline_files import (
    RESTORE,
    Entry,
    StoredColumn,
    Update,
    columns_of,
    entry_of,
    read_columns,
    read_entries,
)
from pytest_clip_robust.gates.regression import Baseline, Change, Trend, contradiction, evidence_from
from pytest_clip_robust.plugin.keys import BASELINE_FILE
from pytest_clip_robust.stats.intervals import LEVEL
from pytest_clip_robust.system.versions import installed_versions

PACKAGES = ("torch", "open_clip_torch", "timm", "numpy")
"""Packages whose version can change the last digits of a value."""

Compare = Callable[[Baseline], Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The result of comparing a measurement with its baseline.

    change: None if there was no baseline, or it is being recorded. update: the baseline to record, if any.
    known: whether there is a baseline now: compared, recorded, or found to be equal to the last stored digit.
    """

    change: Change | None = None
    update: Update | None = None
    known: bool = False


class BaselineExtension(AbstractSyrupyExtension):
    """Stores one measurement per snapshot, named by its key, in the JSON file of its suite; compares statistically."""

    file_extension = "json"

    def __init__(self) -> None:
        self.compare: Compare | None = None
        self.updating = False
        self.change: Change | None = None
        self._measurement: Measurement | None = None
        self._path = Path()

    @classmethod
    def get_location(cls, *, test_location: PyTestLocation, index: Any) -> str:  # noqa: ARG003 - syrupy's signature
        """Return the baseline file of the test."""
        return str(test_location.item.stash[BASELINE_FILE])

    @classmethod
    def discovery_dirname(cls, **_: Any) -> str:
        """Return no folder: syrupy asks for tests that never ran, too, and nothing is discovered anyway."""
        return ""

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: Any = 0) -> str:
        """Return ``test[key]``: syrupy expects the test's name in it."""
        return f"{test_location.methodname}[{index}]"

    def serialize(self, data: Measurement, **_: Any) -> str:
        """Return the entry as text and remember the measurement, since `matches` is only given text."""
        self._measurement = data
        return _text(entry_of(data, versions=versions()))

    def matches(self, *, serialized_data: str, snapshot_data: str) -> bool:
        """Return whether the value got no worse; while updating, whether it is equal to the last stored digit.

        A change that is decided at the end of the run counts as no worse: syrupy's summary counts comparisons.
        """
        assert self._measurement is not None  # noqa: S101 - syrupy serialises before it compares
        assert self.compare is not None  # noqa: S101 - set before the assertion
        if self.updating:
            return serialized_data == snapshot_data
        self.change = self.compare(stored_baseline(self._path, json.loads(snapshot_data), self._measurement))
        return self.change.trend is not Trend.WORSE

    def discover_snapshots(self, **_: Any) -> SnapshotCollections:
        """Return none, so that syrupy never considers one unused."""
        return SnapshotCollections()

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        """Return the names of the snapshots in a file."""
        collection = SnapshotCollection(location=snapshot_location)
        for key in entries_in(Path(snapshot_location)):
            collection.add(Snapshot(name=key))
        return collection

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> str | None:
        """Return an entry as text, or None if the file has no such entry."""
        del session_id
        path = Path(snapshot_location)
        entry = entries_in(path).get(snapshot_name[snapshot_name.index("[") + 1 : -1])
        if entry is None:
            return None
        self._path = path
        return _text(entry)

    @classmethod
    def write_snapshot_collection(cls, *, snapshot_collection: SnapshotCollection, name_order: Any = None) -> None:
        """Write nothing: the update travels with the test's report to the process that writes."""

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        """Delete nothing: no run knows whether a baseline is obsolete."""


def check_baseline(
    item: pytest.Item, measurement: Measurement, compare: Compare, *, snapshot: SnapshotAssertion | None, updating: bool
) -> Compared:
    """Compare `measurement` with its baseline, or record it if syrupy was asked to.

    Without a baseline and a flag to record one, nothing is asserted: syrupy would count a failure. Without syrupy
    (`snapshot` is None), baselines are compared all the same and cannot be recorded.

    Raises:
        ClipRobustError: the baseline is damaged, or cannot be compared.
    """
    path = item.stash[BASELINE_FILE]
    entry = entries_in(path).get(measurement.key)
    recording = snapshot is not None and (snapshot.update_snapshots or snapshot.update_new_snapshots_only)
    if entry is None and not recording:
        return Compared()
    if snapshot is None:
        assert entry is not None  # noqa: S101 - nothing is recorded without syrupy
        return Compared(change=compare(stored_baseline(path, entry, measurement)), known=True)
    assertion = snapshot.use_extension(BaselineExtension)
    extension = assertion.extension
    assert isinstance(extension, BaselineExtension)  # noqa: S101 - what it was made with
    extension.compare, extension.updating = compare, updating
    _ = assertion(name=measurement.key) == measurement
    (result,) = assertion.executions.values()
    if result.exception is not None:
        raise result.exception
    # syrupy remembers what a failed attempt of the same test recorded, so it does not know what is left to record.
    new = recording and (entry is None or (updating and _text(entry) != result.asserted_data))
    return Compared(change=extension.change, update=_update(path, measurement) if new else None, known=True)


def stored_baseline(path: Path, entry: Entry, measurement: Measurement) -> Baseline:
    """Return what the JSON file `path` and the Parquet file next to it store for `measurement`.

    Raises:
        BaselineError: the Parquet file is damaged, lacks the evidence that the entry names, or contradicts the entry.
    """
    run, parquet = entry["run"], path.with_suffix(".parquet")
    stored = columns_in(parquet)
    if entry["outcomes"] and stored and entry["outcomes"] not in stored:
        raise BaselineError(
            f"baseline {path}: {measurement.key} names the evidence {entry['outcomes']}, which {parquet.name} lacks; "
            f"the two files do not belong together; {RESTORE}"
        )
    evidence = evidence_from(measurement, stored.get(entry["outcomes"], ()))
    recomputed = None if evidence is None else contradiction(measurement, entry["value"], evidence)
    if recomputed is not None:
        raise BaselineError(
            f"baseline {path}: {measurement.key} has the value {entry['value']}, but its evidence gives "
            f"{recomputed:.6f}, so it was edited; {RESTORE}"
        )
    return Baseline(
        name=f"baseline {path.parent.name}/{path.name}",
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
        evidence=evidence,
        plot={} if evidence is None else evidence.drawn(),
    )


@cache
def versions() -> dict[str, str]:
    """Return the versions that a baseline is recorded with."""
    return installed_versions(PACKAGES)


def entries_in(path: Path) -> dict[str, Entry]:
    """Return the entries of a JSON file, which is read again only if it changes."""
    return _read_entries(path, _stamp(path))


def columns_in(path: Path) -> dict[str, tuple[StoredColumn, ...]]:
    """Return the columns of a Parquet file, which is read again only if it changes."""
    return _read_columns(path, _stamp(path))


@lru_cache(maxsize=32)
def _read_entries(path: Path, _: object) -> dict[str, Entry]:
    return read_entries(path)


@lru_cache(maxsize=4)
def _read_columns(path: Path, _: object) -> dict[str, tuple[StoredColumn, ...]]:
    return read_columns(path)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _text(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True)


def _update(path: Path, measurement: Measurement) -> Update:
    return Update(
        path=path,
        key=measurement.key,
        entry=entry_of(measurement, versions=versions()),
        columns=columns_of(measurement.evidence),
    )
