"""results.parquet: one row per gate, with typed columns, and null for what was not measured or compared."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from handmade_reports import MEAN, TOP1, changed, document_of, record
from hostile_names import HOSTILE, hostile_document

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.results import COLUMNS, result_rows, write_results


@pytest.fixture
def document():
    records = [
        changed(record(TOP1, 0.6, model="m"), 0.7, verdict="regressed", p=0.01),
        record(MEAN, 0.5, model="m"),
        record_error("no weights", model="m", measurement="test_a", test="test_a"),
    ]
    return document_of(records, exit_status=1)


def read(document, folder):
    write_results(document, folder / "results.parquet")
    return pq.read_table(folder / "results.parquet")


def test_a_row_has_every_number_of_its_gate(document, tmp_path):
    table = read(document, tmp_path)
    assert table.column_names == list(COLUMNS)
    broken, alone, compared = table.to_pylist()
    assert compared["measurement"] == TOP1
    numbers = ("value", "low", "high", "n", "before", "difference", "difference_low", "p_worse", "p_adjusted")
    assert [compared[name] for name in numbers] == pytest.approx([0.6, 0.56, 0.64, 100, 0.7, -0.1, -0.13, 0.01, 0.01])
    texts = ("aspect", "dataset", "direction", "verdict", "before_model", "statistical_test", "test", "data")
    assert [compared[name] for name in texts] == [
        "zero_shot", "photos", "higher", "regressed", "parent", "McNemar, mid-p", f"test_{TOP1}", "d1",
    ]  # fmt: skip
    assert alone["before"] is None
    assert alone["value"] == 0.5
    assert (broken["value"], broken["aspect"], broken["message"], broken["failed"]) == (None, None, "no weights", True)


def test_the_value_is_that_of_the_gate_and_not_of_its_baseline(document):
    assert [row["value"] for row in result_rows(document)] == [None, 0.5, 0.6]


def test_types_do_not_depend_on_the_run(document, tmp_path):
    empty = read(document_of([], exit_status=5), tmp_path)
    assert empty.num_rows == 0
    assert empty.schema.equals(read(document, tmp_path).schema, check_metadata=False)
    assert empty.schema.metadata[b"report_schema"] == str(document["schema"]).encode()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_any_name_can_be_stored(name, tmp_path):
    rows = read(hostile_document(name), tmp_path).to_pylist()
    assert {row["model"] for row in rows} == {name.encode("utf-8", "backslashreplace").decode()}


def test_a_folder_that_cannot_be_written_is_one_line(document, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ReportError, match=r"^--clip-report \S+out: cannot write results\.parquet: "):
        write_results(document, tmp_path / "out" / "results.parquet")
