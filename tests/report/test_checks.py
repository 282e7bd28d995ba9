from __future__ import annotations

import json

import pytest

from pytest_clip_robust.core.checks import Check, CheckedModel, Status, judged, not_applicable
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.checks import build_checks, render_checks, write_checks

CHECKS = (
    judged("scale", "scale 100", expected="2 to 100"),
    judged("tokens", "3 of 16 survive", failure="use another tokenizer"),
    judged("pixels", "mean 0.48", warning="set mean 0.5"),
    not_applicable("published", "no published values"),
)
MODEL = CheckedModel(label="py:mine:load", checks=CHECKS, notes=("took tag\x1b[31m x",), seconds=1.26)


def test_a_table_shows_every_check_and_a_line_for_each_that_is_not_ok():
    lines = render_checks(MODEL, width=100, colour=False).splitlines()
    assert lines == [
        "",
        "py:mine:load",
        "verdict        check     measured            expected",
        "ok             scale     scale 100           2 to 100",
        "failed         tokens    3 of 16 survive     -",
        "warning        pixels    mean 0.48           -",
        "not applicable published no published values -",
        "failed tokens: use another tokenizer",
        "warning pixels: set mean 0.5",
        "note: took tag\\x1b[31m x",
        "1 failed, 1 warning, 1 ok, 1 not applicable; 1.3 s",
    ]


@pytest.mark.parametrize("width", [40, 80, 0])
def test_no_line_is_wider_than_the_terminal(width):
    wide = CheckedModel(label="x", checks=(judged("a", "measured " * 40, expected="expected " * 9),))
    assert max(map(len, render_checks(wide, width=width, colour=False).splitlines())) <= (width or 140)


def test_only_a_failure_fails_a_model():
    assert MODEL.failed
    assert not CheckedModel(label="x", checks=(CHECKS[0], CHECKS[2], CHECKS[3])).failed


def test_a_failure_counts_more_than_a_warning():
    assert judged("a", "b", failure="c", warning="d") == Check(
        name="a", status=Status.FAILED, measured="b", expected="", fix="c"
    )


def test_the_document_holds_what_the_table_shows(tmp_path):
    document = build_checks([MODEL], device="cpu", precision="fp32", exit_status=1)
    path = tmp_path / "new" / "check.json"
    write_checks(document, path)
    content = json.loads(path.read_text())
    assert content == document
    assert content["models"][0]["checks"][1] == {
        "name": "tokens",
        "status": "failed",
        "measured": "3 of 16 survive",
        "expected": "",
        "fix": "use another tokenizer",
    }
    assert (content["models"][0]["failed"], content["models"][0]["seconds"]) == (True, 1.26)


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=r"^--clip-report \S+: cannot write check\.json: "):
        write_checks(build_checks([], device="cpu", precision="fp32", exit_status=0), tmp_path / "file" / "check.json")
