"""results.parquet: one row per gate of a run, for data frames and databases."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.conclusion import aspect_of
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.system.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, NUMBER, COUNT, FLAG = "string", "float64", "int64", "bool"

COLUMNS = {
    "model": TEXT,
    "aspect": TEXT,
    "metric": TEXT,
    "dataset": TEXT,
    "subset": TEXT,
    "measurement": TEXT,
    "verdict": TEXT,
    "failed": FLAG,
    "headline": FLAG,
    "value": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "level": NUMBER,
    "interval_method": TEXT,
    "n": COUNT,
    "direction": TEXT,
    "tolerance": NUMBER,
    "threshold": TEXT,
    "bound": NUMBER,
    "chance": NUMBER,
    "at_chance": FLAG,
    "before": NUMBER,
    "before_model": TEXT,
    "difference": NUMBER,
    "difference_low": NUMBER,
    "difference_high": NUMBER,
    "p_worse": NUMBER,
    "p_better": NUMBER,
    "p_adjusted": NUMBER,
    "statistical_test": TEXT,
    "trend": TEXT,
    "minimum_detectable_effect": NUMBER,
    "samples_needed": COUNT,
    "weights": TEXT,
    "preprocess": TEXT,
    "precision": TEXT,
    "data": TEXT,
    "prompts": TEXT,
    "remark": TEXT,
    "message": TEXT,
    "test": TEXT,
}
"""The columns with their types of Arrow. What was not measured or compared is null."""

OF_CHANGE = (
    "difference",
    "p_worse",
    "p_better",
    "p_adjusted",
    "trend",
    "tolerance",
    "minimum_detectable_effect",
    "samples_needed",
)
"""Columns with the name that they have in the record of a change."""


def result_rows(document: Document) -> list[dict[str, Any]]:
    """Return one row per gate, in the order of the document, with a value or None for each of `COLUMNS`."""
    return [_row(record) for record in document["gates"]]


def results_table(document: Document) -> pa.Table:
    """Return the rows as a table of Arrow, with the number of the document's schema and its date as metadata."""
    import pyarrow as pa  # noqa: PLC0415

    types = {TEXT: pa.string(), NUMBER: pa.float64(), COUNT: pa.int64(), FLAG: pa.bool_()}
    about = {"report_schema": str(document["schema"]), "created": document["created"]}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()], metadata=about)
    return pa.Table.from_pylist(result_rows(document), schema=schema)


def write_results(document: Document, path: Path) -> None:
    """Write results.parquet whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    from pyarrow import parquet  # noqa: PLC0415

    buffer = io.BytesIO()
    parquet.write_table(results_table(document), buffer)
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise ReportError(f"--clip-report {path.parent}: cannot write {path.name}: {error}") from error


def _row(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    found |= {name: value for name, value in record.items() if name in COLUMNS}
    if "value" in record:
        interval, change = record["interval"], record["change"]
        found["aspect"] = aspect_of(record)
        found |= {"low": interval["low"], "high": interval["high"], "level": interval["level"]}
        found["interval_method"] = interval["method"]
        found |= {
            name: record["provenance"].get(name) for name in ("weights", "preprocess", "precision", "data", "prompts")
        }
        if change is not None:
            found |= {name: change[name] for name in OF_CHANGE}  # type: ignore[literal-required]
            found |= {"before": change["value"], "before_model": change["model"], "statistical_test": change["test"]}
            found |= {"difference_low": change["low"], "difference_high": change["high"]}
    return {name: _text(value) if isinstance(value, str) else value for name, value in found.items()}


def _text(value: str) -> str:
    """Return a text that UTF-8 can hold: a lone surrogate, from a file's name in another encoding, is escaped."""
    return value.encode("utf-8", "backslashreplace").decode()
