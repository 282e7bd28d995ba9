"""Files of a panel run: one tidy table as Parquet and CSV, and the per-sample outcomes that paired tests need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from pytest_clip_robust.core.evidence import SHORT_DIGEST
from pytest_clip_robust.core.panel_table import ModelFactors, PanelRow, PanelTable, StoredColumns
from pytest_clip_robust.errors import BaselineError, MeasurementError, ReportError, shown
from pytest_clip_robust.gates.baseline_files import read_columns, write_columns
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.study import write_csv
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.text import one_line

SCHEMA = "1"
"""The version of the columns below; a reader refuses others."""

PARQUET, CSV, OUTCOMES = "panel.parquet", "panel.csv", "panel-outcomes.parquet"
SCHEMA_KEY = b"panel_schema"


class TableColumn(NamedTuple):
    """A column of the table: its name, and its type in Parquet."""

    name: str
    type: str


COLUMNS = (
    TableColumn("model", "string"),
    TableColumn("group", "string"),
    TableColumn("parent", "string"),
    TableColumn("reference", "bool"),
    TableColumn("family", "string"),
    TableColumn("architecture", "string"),
    TableColumn("parameters", "int64"),
    TableColumn("training_data", "string"),
    TableColumn("training_pairs", "float64"),
    TableColumn("samples_seen", "float64"),
    TableColumn("fine_tuning", "string"),
    TableColumn("loss", "string"),
    TableColumn("prompts", "string"),
    TableColumn("aspect", "string"),
    TableColumn("metric", "string"),
    TableColumn("dataset", "string"),
    TableColumn("subset", "string"),
    TableColumn("value", "float64"),
    TableColumn("low", "float64"),
    TableColumn("high", "float64"),
    TableColumn("level", "float64"),
    TableColumn("n", "int64"),
    TableColumn("direction", "string"),
    TableColumn("tolerance", "float64"),
    TableColumn("verdict", "string"),
    TableColumn("data", "string"),
    TableColumn("outcomes", "string"),
    TableColumn("test", "string"),
)
"""All columns, in their order; `docs/study.md` explains them, and so do `ModelFactors` and `PanelRow`."""

OF_MODEL = tuple(one.name for one in fields(ModelFactors))
OF_ROW = tuple(one.name for one in fields(PanelRow) if one.name != "factors")


def table_from(
    records: Iterable[Record], factors: Mapping[str, ModelFactors], outcomes: Mapping[tuple[str, str], StoredColumns]
) -> PanelTable:
    """Return the table of a run.

    Args:
        records: of all gates.
        factors: of every model, by label. Gates of tests without a model are left out.
        outcomes: (node id, measurement's key) -> what each sample contributed, for the measurements that have it.

    Raises:
        MeasurementError: two tests measured one key of a model with different results.
    """
    from pytest_clip_robust.core.evidence import columns_digest  # noqa: PLC0415 - NumPy, once there is a table

    kept: dict[str, StoredColumns] = {}
    rows: dict[tuple[str, str, float | None], PanelRow] = {}
    for record in records:
        if record["model"] not in factors:
            continue
        columns = outcomes.get((record["test"], record["measurement"]), ())
        digest = columns_digest(columns) if columns else ""
        if digest:
            kept[digest] = columns
        row = _row(record, factors[record["model"]], digest)
        # A value that two tests measured equally is one row, and each test that failed has a row of its own.
        place = (record["model"], row.test, None) if row.value is None else (record["model"], row.key, row.value)
        rows.setdefault(place, row)
    ordered = sorted(rows.values(), key=lambda row: (row.factors.model, row.metric, row.dataset, row.subset, row.test))
    return PanelTable(rows=tuple(ordered), outcomes=kept)


def write_table(table: PanelTable, folder: Path) -> Path:
    """Write `table` as panel.parquet, panel.csv and panel-outcomes.parquet; return the path of the first.

    Each file is written whole or not at all. Equal tables give equal files.

    Raises:
        ReportError: the folder cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - a third of a second
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = [_plain(row) for row in table.rows]
    types = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS], metadata={SCHEMA_KEY: SCHEMA.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    path = folder / PARQUET
    try:
        write_columns(folder / OUTCOMES, {digest: list(columns) for digest, columns in table.outcomes.items()})
        write_csv([name for name, _ in COLUMNS], rows, folder / CSV)
        write_whole(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise ReportError(f"{folder}: cannot write {PARQUET}: {error}") from error
    return path


def read_panel_table(path: Path | str) -> PanelTable:
    """Return the table of a panel.parquet, with the outcomes of the panel-outcomes.parquet next to it, if there is one.

    Raises:
        ReportError: a file cannot be read, or is not such a table.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    path = Path(path)
    try:
        content = pq.read_table(path)
    except Exception as error:  # pyarrow raises anything for a damaged file
        raise ReportError(f"panel table {path} cannot be read: {one_line(error) or type(error).__name__}") from error
    schema = (content.schema.metadata or {}).get(SCHEMA_KEY, b"").decode(errors="replace")
    if schema != SCHEMA:
        raise ReportError(
            f"panel table {path} has schema {shown(schema)}, and this version reads {SCHEMA!r}; run pytest with "
            "--clip-panel again"
        )
    if missing := [name for name, _ in COLUMNS if name not in content.column_names]:
        raise ReportError(f"panel table {path} has no column {missing[0]!r}; run pytest with --clip-panel again")
    try:
        return PanelTable(rows=_rows(content.to_pylist()), outcomes=read_columns(path.with_name(OUTCOMES)))
    except (MeasurementError, BaselineError) as error:
        raise ReportError(f"panel table {path}: {error}") from error


def _row(record: Record, factors: ModelFactors, digest: str) -> PanelRow:
    if "value" not in record:
        return PanelRow(
            factors=factors,
            test=record["test"],
            metric=record["measurement"],
            dataset="",
            subset="",
            value=None,
            low=None,
            high=None,
            level=None,
            n=None,
            direction=None,
            tolerance=None,
            verdict=record["verdict"],
        )
    return PanelRow(
        factors=factors,
        test=record["test"],
        metric=record["metric"],
        dataset=record["dataset"],
        subset=record["subset"],
        value=record["value"],
        low=record["interval"]["low"],
        high=record["interval"]["high"],
        level=record["interval"]["level"],
        n=record["n"],
        direction=record["direction"],
        tolerance=record["tolerance"],
        verdict=record["verdict"],
        data=record["provenance"].get("data", "")[:SHORT_DIGEST],
        outcomes=digest,
    )


def _plain(row: PanelRow) -> dict[str, Any]:
    of_model = {name: getattr(row.factors, name) for name in OF_MODEL}
    return of_model | {name: getattr(row, name) for name in OF_ROW} | {"aspect": row.aspect}


def _rows(content: Sequence[Mapping[str, Any]]) -> tuple[PanelRow, ...]:
    return tuple(
        PanelRow(factors=ModelFactors(**{name: row[name] for name in OF_MODEL}), **{name: row[name] for name in OF_ROW})
        for row in content
    )
