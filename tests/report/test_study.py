"""Findings as a table for the terminal, and as findings.csv."""

from __future__ import annotations

import csv

import pytest
from handmade_reports import TOP1, document_of, record

from pytest_clip_robust.cli import main
from pytest_clip_robust.core.finding import Answer, Effect, FindingResult, Status, finding_record
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.document import read_report, write_document
from pytest_clip_robust.report.study import FINDING_COLUMNS, render_findings, write_findings
from pytest_clip_robust.report.summary import render_summary

EFFECT = Effect(value=0.5, low=0.25, high=0.75, models=7, units=3, of="families")
ANSWER = Answer(
    status=Status.HOLDS, effect=EFFECT, statistic="a minus b", unit="points", reason="it is above 0", smallest=0.1,
    predicts="above 0",
)  # fmt: skip


def results():
    tested = FindingResult(name="one", claim="A is above B.", status=Status.HOLDS, why=ANSWER.sentence, answer=ANSWER)
    return [
        tested,
        *(
            FindingResult(name=name, claim="C.", status=Status.NOT_TESTED, why=why, answer=None)
            for name, why in (("two", "needs x"), ("three", "needs x"), ("four", "needs \x1b[31my"))
        ),
    ]


def records():
    return [finding_record(one) for one in results()]


def test_tested_findings_are_rows_and_the_others_are_listed_by_reason():
    lines = [" ".join(line.split()) for line in render_findings(records(), width=120, colour=False).splitlines()]
    assert "holds A is above B. +0.500 points +0.250 to +0.750 7 (3) it is above 0" in lines
    assert "not tested (2 findings): needs x" in lines
    assert "findings: 1 holds, 3 not tested" in lines


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in render_findings(records(), width=120, colour=False)


def test_nothing_tested_has_no_table():
    assert "effect" not in render_findings(records()[1:], width=120, colour=False)


def test_the_sentence_has_the_numbers_and_what_the_interval_covers():
    assert ANSWER.sentence == (
        "holds: a minus b is +0.500 points (95 % interval +0.250 to +0.750, over other families of models and other "
        "images; values: 7, units: 3): it is above 0"
    )


def test_the_csv_file_has_a_row_per_finding(tmp_path):
    write_findings(results(), tmp_path)
    with (tmp_path / "findings.csv").open(newline="") as file:
        first, second, *_ = csv.DictReader(file)
    assert tuple(first) == FINDING_COLUMNS
    assert (first["value"], first["values"], first["units"], first["covers"]) == ("0.5", "7", "3", "families")
    assert (second["finding"], second["value"], second["why"]) == ("two", "", "needs x")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"cannot write findings\.csv"):
        write_findings(results(), tmp_path / "file")


@pytest.fixture
def document():
    return document_of([record(TOP1, 0.6, model="m")], exit_status=0, findings=records())


def test_a_report_has_the_findings_of_its_panel(document, tmp_path):
    write_document(document, tmp_path / "report.json")
    first, second, *_ = read_report(tmp_path / "report.json")["findings"]
    assert (first["finding"], first["status"], first["value"], first["units"]) == ("one", "holds", 0.5, 3)
    assert (first["smallest"], first["reason"]) == (0.1, "it is above 0")
    assert (second["status"], second["value"], second["covers"], second["why"]) == ("not tested", None, None, "needs x")


def test_the_summary_has_a_row_per_finding_of_the_panel_and_a_run_without_one_has_none(document):
    text = render_summary(document)
    assert "findings on the panel: 1 holds, 3 not tested" in text
    row = next(line for line in text.splitlines() if "above B" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][2] == "+0.500 points"
    assert "findings" not in render_summary(document | {"findings": []})


def test_the_findings_of_a_saved_run_are_shown(document, tmp_path, capsys):
    write_document(document, tmp_path / "report.json")
    assert main(["show", str(tmp_path)]) == 0
    assert "findings: 1 holds, 3 not tested" in capsys.readouterr().out
