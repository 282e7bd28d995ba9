"""Findings as a table for the terminal, and as findings.csv."""

from __future__ import annotations

import csv

import pytest

from pytest_clip_robust.core.finding import Answer, Effect, FindingResult, Status
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.study import FINDING_COLUMNS, render_findings, write_findings

EFFECT = Effect(value=0.5, low=0.25, high=0.75, models=7, units=3, of="families")
ANSWER = Answer(status=Status.HOLDS, effect=EFFECT, statistic="a minus b", unit="points", reason="it is above 0")


def results():
    tested = FindingResult(name="one", claim="A is above B.", status=Status.HOLDS, why=ANSWER.sentence, answer=ANSWER)
    return [
        tested,
        *(
            FindingResult(name=name, claim="C.", status=Status.NOT_TESTED, why=why, answer=None)
            for name, why in (("two", "needs x"), ("three", "needs x"), ("four", "needs \x1b[31my"))
        ),
    ]


def test_tested_findings_are_rows_and_the_others_are_listed_by_reason():
    lines = [" ".join(line.split()) for line in render_findings(results(), width=120, colour=False).splitlines()]
    assert "holds A is above B. +0.500 points +0.250 to +0.750 7 (3) it is above 0" in lines
    assert "not tested (2 findings): needs x" in lines
    assert "findings: 1 holds, 3 not tested" in lines


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in render_findings(results(), width=120, colour=False)


def test_nothing_tested_has_no_table():
    assert "effect" not in render_findings(results()[1:], width=120, colour=False)


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
