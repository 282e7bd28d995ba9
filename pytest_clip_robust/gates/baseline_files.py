"""Baselines on disk: ``<suite>.json`` to read and review, ``<suite>.parquet`` with every sample's part in it.

The JSON file has a line a gate, sorted and rounded. Its ``outcomes`` names the gate's evidence in the Parquet file by
digest; without it a comparison is merely unpaired. In the Parquet file each distinct column of numbers is a row, in the
list of its type, and the schema's metadata says which columns make up which evidence.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pytest_clip_robust.core.evidence import COLUMN_TYPES, SHORT_DIGEST, Evidence
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.system.files import write_whole

FORMAT = 1
DIGITS = 6
EVIDENCE = "evidence"
RESTORE = "restore it from version control, or remove it and record anew with --snapshot-update"

Entry = dict[str, Any]
"""One gate as the JSON file has it, its run spelled out."""

Column = tuple[str, str, NDArray[Any]]
"""Name of the stratum, name of the column, and its values (N,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a run found and wants recorded in the JSON file `path`; `columns` are the evidence that `entry` names."""

    path: Path
    key: str
    entry: Entry
    columns: tuple[Column, ...]


def entry_of(measurement: Measurement, *, versions: Mapping[str, str]) -> Entry:
    """Turn a measurement into what is stored of it, rounded to six digits."""
    origin = measurement.provenance
    return {
        "value": round(float(measurement.value), DIGITS),
        "low": round(float(measurement.interval.low), DIGITS),
        "high": round(float(measurement.interval.high), DIGITS),
        "n": int(measurement.n),
        "data": origin.data[:SHORT_DIGEST],
        "prompts": origin.prompts[:SHORT_DIGEST],
        "outcomes": "" if measurement.evidence is None else measurement.evidence.digest,
        "run": {
            "model": origin.model,
            "weights": origin.weights[:SHORT_DIGEST],
            "preprocess": origin.preprocess[:SHORT_DIGEST],
            "precision": origin.precision,
            "versions": dict(versions),
        },
    }


def columns_of(evidence: Evidence | None) -> tuple[Column, ...]:
    """List the columns of all strata; none, where there is no evidence."""
    if evidence is None:
        return ()
    return tuple((one.name, name, values) for one in evidence.strata for name, values in one.columns.items())


def read_entries(path: Path) -> dict[str, Entry]:
    """Read every gate of a JSON file, by key; none, where there is no file.

    Raises:
        BaselineError: the file is damaged, or of a later format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BaselineError(f"baseline {path} cannot be read: {error}; {RESTORE}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BaselineError(f"baseline {path} has format {found!r}, and this version reads {FORMAT}; {RESTORE}")
    try:
        return {key: {**entry, "run": content["runs"][entry["run"]]} for key, entry in content["gates"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"baseline {path} lacks {error}; {RESTORE}") from error


def read_columns(path: Path) -> dict[str, tuple[Column, ...]]:
    """Read the columns of every evidence of a Parquet file, by digest; none, where there is no file.

    Raises:
        BaselineError: the file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415 - a third of a second, for runs that compare
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not path.exists():
        return {}
    try:
        parts = json.loads((pq.read_metadata(path).metadata or {})[EVIDENCE.encode()])
        table = pq.read_table(path)
        arrays: dict[str, NDArray[Any]] = {}
        for name in COLUMN_TYPES:
            kept = table.filter(pa.compute.is_valid(table[name]))
            for digest, values in zip(kept["digest"].to_pylist(), kept[name], strict=True):
                arrays[digest] = values.values.to_numpy(zero_copy_only=False).astype(name)
        return {
            digest: tuple((stratum, name, arrays[column]) for stratum, name, column in columns)
            for digest, columns in parts.items()
        }
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BaselineError(f"baseline {path} cannot be read: {str(error).splitlines()[0]}; {RESTORE}") from error


def pack(update: Update) -> dict[str, Any]:
    """Turn an update into plain data, fit for xdist's wire and for whoever writes test reports as JSON."""
    columns = [
        [stratum, name, values.dtype.name, base64.b85encode(values.tobytes()).decode()]
        for stratum, name, values in update.columns
    ]
    return {"path": str(update.path), "key": update.key, "entry": update.entry, "columns": columns}


def unpack(parcel: Mapping[str, Any]) -> Update:
    """Undo `pack`."""
    columns = tuple(
        (stratum, name, np.frombuffer(base64.b85decode(raw), kind)) for stratum, name, kind, raw in parcel["columns"]
    )
    return Update(path=Path(parcel["path"]), key=parcel["key"], entry=parcel["entry"], columns=columns)


def record(path: Path, updates: Iterable[Update]) -> None:
    """Put `updates` into the JSON file `path` and the Parquet file beside it; every other entry stays as it is.

    Both are replaced whole. In between the Parquet file has the old columns and the new ones, so that whenever the
    process is killed, each entry of the JSON file finds its own. One process of a user writes at a time, whichever file
    it is: that takes milliseconds, and a lock for each path would leave a file for each, as removing one is a race.

    Raises:
        BaselineError: a file is damaged, or cannot be written; then nothing was changed, or the entries still hold.
    """
    lock = FileLock(Path(tempfile.gettempdir(), f"pytest-clip-robust-{os.getuid()}.lock"))
    beside = path.with_suffix(".parquet")
    try:
        with lock:
            entries, columns = read_entries(path), read_columns(beside)
            for update in updates:
                entries[update.key] = update.entry
                if update.columns:
                    columns[update.entry["outcomes"]] = update.columns
            used = {entry["outcomes"] for entry in entries.values()}
            _write_columns(beside, columns)
            _replace(path, dump_entries(entries).encode())
            _write_columns(beside, {digest: one for digest, one in columns.items() if digest in used})
    except OSError as error:
        raise BaselineError(f"baseline {path} cannot be written: {error.strerror or error}") from error


def dump_entries(entries: Mapping[str, Entry]) -> str:
    """Write a line a gate, sorted by key, with runs named once."""
    runs = {run_id(entry["run"]): entry["run"] for entry in entries.values()}
    lines = ["{", f' "format": {FORMAT},', ' "runs": {']
    lines += _lines(runs)
    lines += [" },", ' "gates": {']
    lines += _lines({key: {**entry, "run": run_id(entry["run"])} for key, entry in entries.items()})
    return "\n".join([*lines, " }", "}", ""])


def run_id(run: Mapping[str, Any]) -> str:
    """Identify weights, preprocessing, precision and versions, 12 hex digits."""
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:SHORT_DIGEST]


def _lines(table: Mapping[str, Any]) -> list[str]:
    rows = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in sorted(table.items())]
    return [f"{row}," for row in rows[:-1]] + rows[-1:]


def _write_columns(path: Path, columns: Mapping[str, Sequence[Column]]) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not columns and not path.exists():
        return
    parts: dict[str, list[tuple[str, str, str]]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for digest, of_evidence in sorted(columns.items()):
        parts[digest] = [(stratum, name, _remember(values, arrays)) for stratum, name, values in of_evidence]
    digests = sorted(arrays)
    typed = {
        name: pa.array([arrays[one] if arrays[one].dtype == name else None for one in digests], pa.list_(kind))
        for name, kind in zip(COLUMN_TYPES, (pa.bool_(), pa.uint8(), pa.int32(), pa.float32()), strict=True)
    }
    table = pa.table({"digest": pa.array(digests, pa.string()), **typed})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({EVIDENCE: json.dumps(parts, sort_keys=True)})
    _replace(path, sink.getvalue().to_pybytes())


def _remember(values: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(values.dtype.name.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()[
        :SHORT_DIGEST
    ]
    arrays[digest] = values
    return digest


def _replace(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    write_whole(path, content)
