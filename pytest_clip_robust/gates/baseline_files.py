"""Baseline files: ``<suite>.json`` for people to read and review, ``<suite>.parquet`` with the numbers of every sample.

The JSON file has one line per gate, sorted and rounded. ``outcomes`` names the gate's evidence in the Parquet file by
its digest. In the Parquet file each distinct column of numbers is a row, in the list of its type, and the schema's
metadata says which columns make up which evidence. Digests are verified when a file is read.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.core.evidence import COLUMN_TYPES, SHORT_DIGEST, Evidence, columns_digest
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.core.plain import read_value
from pytest_clip_robust.errors import BaselineError, shown
from pytest_clip_robust.system.expansion import check_parquet
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.lock import hold_lock, private_folder
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import one_line

FORMAT = 1
DIGITS = 6
LOCK_SECONDS = 30.0
"""How long to wait for another process that writes baselines, which takes milliseconds."""

EVIDENCE = "evidence"
RESTORE = "restore it from version control, or delete it and re-record with --snapshot-update"

StoredColumn = tuple[str, str, NDArray[Any]]
"""Name of the stratum, name of the column, and its values (N,)."""

Value = TypeVar("Value")


class Run(TypedDict):
    """The model, weights and data that a baseline was measured with; digests have 12 hex digits."""

    model: str
    weights: str
    preprocess: str
    precision: str
    versions: dict[str, str]


class _Measured(TypedDict):
    value: float
    low: float
    high: float
    n: int
    data: str
    prompts: str
    outcomes: str


class Entry(_Measured):
    """One gate of a JSON file, with its run written out. `outcomes` is the digest of its evidence, or ``""``."""

    run: Run


class _Gate(_Measured):
    """One gate as the file has it: `run` is the id of its run."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An entry to record in the JSON file `path` under `key`; `columns` are the evidence that it names."""

    path: Path
    key: str
    entry: Entry
    columns: tuple[StoredColumn, ...]


def entry_of(measurement: Measurement, *, versions: Mapping[str, str]) -> Entry:
    """Return what is stored of a measurement, rounded to six digits."""
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


def columns_of(evidence: Evidence | None) -> tuple[StoredColumn, ...]:
    """Return the columns of all strata; empty without evidence."""
    if evidence is None:
        return ()
    return tuple((one.name, name, values) for one in evidence.strata for name, values in one.columns.items())


def read_entries(path: Path) -> dict[str, Entry]:
    """Return every gate of a JSON file by key; empty if there is no file.

    Raises:
        BaselineError: the file is damaged, or of another format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not path.is_symlink():
            return {}
        raise BaselineError(f"baseline {path} is a link to a file that does not exist; {RESTORE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"baseline {path} cannot be read: {one_line(error)}; {RESTORE}") from error
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"baseline {path} cannot be read: {one_line(error)}; {RESTORE}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT or isinstance(found, bool):
        raise BaselineError(f"baseline {path} has format {shown(found)}, and this version reads {FORMAT}; {RESTORE}")
    try:
        runs = read_value(dict[str, Run], content.get("runs"), where="runs", error=BaselineError)
        gates = read_value(dict[str, _Gate], content.get("gates"), where="gates", error=BaselineError)
        return {key: _entry_from(gate, runs, key) for key, gate in gates.items()}
    except BaselineError as error:
        raise BaselineError(f"baseline {path} is damaged: {error}; {RESTORE}") from None


def read_columns(path: Path) -> dict[str, tuple[StoredColumn, ...]]:
    """Return the columns of every evidence of a Parquet file by digest; empty if there is no file.

    Raises:
        BaselineError: the file is damaged: it cannot be read, or its numbers do not have the digests it names.
    """
    import pyarrow as pa  # noqa: PLC0415 - a third of a second, for runs that compare
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not path.exists():
        return {}
    try:
        about = pq.read_metadata(path)
        check_parquet(about)
        parts = json.loads((about.metadata or {})[EVIDENCE.encode()])
        table = pq.read_table(path)
        arrays: dict[str, NDArray[Any]] = {}
        for name in COLUMN_TYPES:
            kept = table.filter(pa.compute.is_valid(table[name]))
            for row, values in zip(kept["digest"].to_pylist(), kept[name], strict=True):
                arrays[row] = values.values.to_numpy(zero_copy_only=False).astype(name)
        found = {
            key: tuple((str(stratum), str(name), arrays[column]) for stratum, name, column in columns)
            for key, columns in parts.items()
        }
        damaged = [key for key, columns in found.items() if columns_digest(columns) != key]
    except Exception as error:
        # A damaged file makes pyarrow raise anything, from OSError to TypeError.
        raise BaselineError(
            f"baseline {path} cannot be read: {one_line(error) or type(error).__name__}; {RESTORE}"
        ) from error
    if damaged:
        raise BaselineError(f"baseline {path} is damaged: its numbers do not have the digest {damaged[0]}; {RESTORE}")
    return found


def write_columns(path: Path, columns: Mapping[str, Sequence[StoredColumn]]) -> None:
    """Write the columns of every evidence, by digest, to a Parquet file that `read_columns` reads.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not columns and not path.exists():
        return
    parts: dict[str, list[tuple[str, str, str]]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, of_evidence in sorted(columns.items()):
        parts[name] = [(stratum, column, _remember(values, arrays)) for stratum, column, values in of_evidence]
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


def families(baselines: Path) -> list[str]:
    """Return the names of the folders in `baselines` that hold a baseline file."""
    return sorted({path.parent.name for path in baselines.glob("*/*.json")})


def pack(update: Update) -> dict[str, Any]:
    """Return an update as plain data, for xdist's wire and for plugins that write test reports as JSON."""
    return {"path": str(update.path), "key": update.key, "entry": update.entry, "columns": pack_columns(update.columns)}


def unpack(packed: Mapping[str, Any]) -> Update:
    """Return the update that `pack` was called with."""
    return Update(
        path=Path(packed["path"]), key=packed["key"], entry=packed["entry"], columns=unpack_columns(packed["columns"])
    )


def pack_columns(columns: Iterable[StoredColumn]) -> list[list[str]]:
    """Return columns as plain data."""
    return [
        [stratum, name, values.dtype.name, base64.b64encode(values.tobytes()).decode()]
        for stratum, name, values in columns
    ]


def unpack_columns(packed: Iterable[Sequence[str]]) -> tuple[StoredColumn, ...]:
    """Return the columns that `pack_columns` was called with."""
    return tuple((stratum, name, np.frombuffer(base64.b64decode(raw), kind)) for stratum, name, kind, raw in packed)


def record(path: Path, updates: Iterable[Update], *, notice: Notice = log_notice) -> None:
    """Write `updates` into the JSON file `path` and the Parquet file next to it; all other entries stay.

    Both files are replaced whole. In between, the Parquet file has the old columns and the new ones, so that each entry
    of the JSON file finds its columns whenever the process is killed. One process per user writes at a time, regardless
    of the file: writing takes milliseconds, and one lock file per baseline could not be removed without a race.

    Raises:
        BaselineError: a file is damaged, or cannot be written; then nothing was changed, or the old entries still hold.
    """
    parquet = path.with_suffix(".parquet")
    try:
        with hold_lock(lock_file(), activity="writes baselines", limit=LOCK_SECONDS, notice=notice):
            entries, columns = read_entries(path), read_columns(parquet)
            for update in updates:
                entries[update.key] = update.entry
                if update.columns:
                    columns[update.entry["outcomes"]] = update.columns
            used = {entry["outcomes"] for entry in entries.values()}
            write_columns(parquet, columns)
            _replace(path, dump_entries(entries).encode())
            write_columns(parquet, {digest: one for digest, one in columns.items() if digest in used})
    except OSError as error:
        raise BaselineError(f"baseline {path} cannot be written: {error.strerror or error}") from error


def lock_file() -> Path:
    """Return the file that processes of this user lock while they write baselines; other users cannot make it.

    Raises:
        OSError: its folder cannot be made, or is not this user's.
    """
    return private_folder() / "baselines.lock"


def dump_entries(entries: Mapping[str, Entry]) -> str:
    """Return the text of a JSON file: one line per gate, sorted by key, with each run written once."""
    runs = {run_id(entry["run"]): entry["run"] for entry in entries.values()}
    lines = ["{", f' "format": {FORMAT},', ' "runs": {']
    lines += _lines(runs)
    lines += [" },", ' "gates": {']
    lines += _lines({key: {**entry, "run": run_id(entry["run"])} for key, entry in entries.items()})
    return "\n".join([*lines, " }", "}", ""])


def run_id(run: Mapping[str, Any]) -> str:
    """Return the digest of weights, preprocessing, precision and versions, 12 hex digits."""
    return digest(run)[:SHORT_DIGEST]


def _entry_from(gate: _Gate, runs: Mapping[str, Run], key: str) -> Entry:
    """Return a gate with its run written out; raise BaselineError if they contradict themselves or each other."""
    run = runs.get(gate["run"])
    if run is None:
        raise BaselineError(f"{key!r} names the run {shown(gate['run'])}, which it does not have")
    if run_id(run) != gate["run"]:
        raise BaselineError(f"the run {gate['run']} was edited: its digest is {run_id(run)}")
    if not gate["low"] <= gate["high"] or gate["n"] < 1:
        raise BaselineError(f"{key!r} has low={gate['low']}, high={gate['high']}, n={gate['n']}")
    return {**gate, "run": run}


def _without_duplicates(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _lines(table: Mapping[str, Any]) -> list[str]:
    rows = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in sorted(table.items())]
    return [f"{row}," for row in rows[:-1]] + rows[-1:]


def _remember(values: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> str:
    found = hashlib.sha256(values.dtype.name.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()
    arrays[found[:SHORT_DIGEST]] = values
    return found[:SHORT_DIGEST]


def _replace(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    write_whole(path, content)
