"""Files of a panel: what is written is read back, equal tables give equal files, damaged ones are one-line errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from handmade_panels import model, row, table
from handmade_reports import record
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import columns_digest
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError, ReportError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.panel_files import COLUMNS, read_panel_table, table_from, write_table

COLUMN_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


def test_a_table_is_read_as_it_was_written_with_its_outcomes(tmp_path):
    columns = [("cues", "shape", np.array([True, False, True]))]
    key = columns_digest(columns)
    first = row(model("a", samples_seen=34e9, parameters=151_277_313), "m.one[set/part]", 0.5, outcomes=key)
    failed = replace(first, metric="test_x", dataset="", subset="", value=None, low=None, high=None, level=None, n=None,
                     direction=None, tolerance=None, verdict="error", outcomes="")  # fmt: skip
    written = PanelTable(rows=(first, failed), outcomes={key: columns})
    found = read_panel_table(write_table(written, tmp_path))
    assert found.rows == written.rows
    ((_, name, values),) = found.outcomes[key]
    assert (name, values.tolist()) == ("shape", [True, False, True])


@given(st.lists(st.tuples(COLUMN_TEXTS, st.floats(-1e9, 1e9)), unique_by=lambda one: one[0], max_size=4))
@settings(max_examples=20)
def test_every_name_and_value_survives(tmp_path_factory, named):
    rows = tuple(row(model(f"{label}!"), "m.one[set]", value, error=0.1) for label, value in named)
    written = PanelTable(rows=rows)
    assert read_panel_table(write_table(written, tmp_path_factory.mktemp("panel"))) == written


def test_the_schema_is_the_documented_one(tmp_path):
    schema = pq.read_schema(write_table(table({model("a"): {"m.one[set]": 0.5}}), tmp_path))
    assert [(field.name, str(field.type)) for field in schema] == [
        (name, "double" if kind == "float64" else kind) for name, kind in COLUMNS
    ]


def damaged(folder, how):
    path = write_table(table({model("a"): {"m.one[set]": 0.5}}), folder)
    content = pq.read_table(path)
    if how == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "schema":
        pq.write_table(content.replace_schema_metadata({}), path)
    elif how == "column":
        pq.write_table(content.drop_columns(["loss"]), path)
    elif how == "twice":
        import pyarrow as pa

        pq.write_table(pa.concat_tables([content, content]), path)
    elif how == "outcomes":
        path.with_name("panel-outcomes.parquet").write_text("x")
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("bytes", "cannot be read"),
        ("schema", "has schema '', and this version reads '1'; run pytest with --clip-panel again"),
        ("column", "has no column 'loss'"),
        ("twice", r"a: m\.one\[set\] occurs twice in the table"),
        ("outcomes", "cannot be read"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, how, message):
    with pytest.raises(ReportError, match=message) as error:
        read_panel_table(damaged(tmp_path, how))
    assert "\n" not in str(error.value)


def test_a_missing_table_is_one_line(tmp_path):
    with pytest.raises(ReportError, match="cannot be read"):
        read_panel_table(tmp_path / "none.parquet")


def test_tests_without_a_model_and_equal_repetitions_are_left_out():
    records = [
        record("m.one[s]", 0.5, model="a"),
        record("m.one[s]", 0.5, model="a"),
        record("m.one[s]", 0.5, model=""),
    ]
    records += [record_error("no weights", model="a", measurement="test_x", test=test) for test in ("t1", "t2")]
    found = table_from(records, {"a": model("a")}, {})
    assert [(one.key, one.verdict) for one in found] == [
        ("m.one[s]", "passed"),
        ("test_x", "error"),
        ("test_x", "error"),
    ]


def test_two_results_of_one_measurement_are_an_error():
    records = [record("m.one[s]", value, model="a") for value in (0.5, 0.6)]
    with pytest.raises(MeasurementError, match=r"a: m\.one\[s\] occurs twice"):
        table_from(records, {"a": model("a")}, {})


def test_models_with_different_images_under_one_name_are_not_compared():
    rows = tuple(row(model(label), "m.one[s]", 0.5, data=label) for label in ("a", "b"))
    with pytest.raises(MeasurementError, match=r"a and b were measured on different images \(a and b\)"):
        PanelTable(rows=rows).rows_of("m.one")


def test_a_model_has_one_set_of_factors():
    rows = (row(model("a"), "m.one[s]", 0.5), row(model("a", loss="sigmoid"), "m.two[s]", 0.5))
    with pytest.raises(MeasurementError, match="a: its rows state different factors"):
        PanelTable(rows=rows)
