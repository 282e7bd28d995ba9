"""report.json: what is written is read back, and a wrong file is named in one line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from handmade_reports import document_of

from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates import Threshold, judge
from pytest_clip_robust.gates.record import record_error, record_judgement
from pytest_clip_robust.report.document import read_report, write_document


@pytest.fixture
def measured():
    return Measurement(
        metric="zero_shot.top1",
        value=0.6,
        n=100,
        interval=Interval(0.5, 0.7, 0.95, "Wilson"),
        direction="higher",
        tolerance=0.01,
        headline=True,
        dataset="photos",
        plot={"x": np.array([0.0, 1.0])},
        chance=0.5,
    )


@pytest.fixture
def report(tmp_path, measured):
    records = [
        record_judgement(judge(measured, Threshold(at_least=0.5)), model="m", test="test_b"),
        record_error("no weights", model="m", measurement="test_a", test="test_a"),
    ]
    document = document_of(records, exit_status=1)
    path = tmp_path / "report.json"
    write_document(document, path)
    return document, path


def test_what_is_written_is_read_back(report):
    document, path = report
    assert read_report(path) == document
    assert [gate["test"] for gate in document["gates"]] == ["test_a", "test_b"]


def test_a_value_at_chance_is_marked(report):
    _, path = report
    failed, at_chance = read_report(path)["gates"]
    assert (at_chance["chance"], at_chance["at_chance"]) == (0.5, True)
    assert "chance" not in failed


def test_chance_that_is_not_known_is_null(measured):
    record = record_judgement(judge(dataclasses.replace(measured, chance=None), None), model="m")
    assert (record["chance"], record["at_chance"]) == (None, False)
    assert type(record["at_chance"]) is bool


def test_chance_of_numpy_is_plain(measured):
    record = record_judgement(judge(dataclasses.replace(measured, chance=np.float64(0.1)), None), model="m")
    assert (type(record["chance"]), record["at_chance"]) == (float, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2, and this version reads 7; run again with --clip-report"),
        ({"alpha": "0.05"}, "alpha='0.05'; expected a number"),
        ({"gates": [{"verdict": "passed"}]}, r"gates\[0\] has no 'failed'"),
        ({"gates": [7]}, r"gates\[0\]=7; expected a table"),
        ({"notices": None}, "notices=None; expected a list"),
    ],
)
def test_a_wrong_value_is_named_with_the_file(report, change, message):
    _, path = report
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ReportError, match=rf"^report .*report.json.*{message}"):
        read_report(path)


def test_a_missing_key_is_named(report):
    _, path = report
    content = json.loads(path.read_text())
    del content["profile"]
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match="has no 'profile'"):
        read_report(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_file_that_is_not_a_report_is_one_line(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(ReportError) as caught:
        read_report(path)
    assert "\n" not in str(caught.value)
    assert "report.json" in str(caught.value)
