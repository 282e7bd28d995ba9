"""``clip-robust show``, ``compare`` and ``comment`` on saved reports."""

from __future__ import annotations

import json
import stat
import sys

import pytest
from handmade_reports import write_report

from pytest_clip_robust import cli
from pytest_clip_robust.report.comment import comment_of, content_of, is_news, is_ours
from pytest_clip_robust.report.comparison import compare_documents
from pytest_clip_robust.report.document import read_report

BEFORE = {
    "zero_shot.top1[photos]": 0.80,
    "calibration.ece_15[photos]": 0.05,
    "shift.top1[night]": 0.61,
    "old.one[x]": 1.0,
}
NOW = {"zero_shot.top1[photos]": 0.70, "calibration.ece_15[photos]": 0.05, "shift.top1[night]": 0.66, "new.one[x]": 1.0}


@pytest.fixture
def reports(tmp_path):
    return [write_report(tmp_path / name, name, gates) for name, gates in (("a", BEFORE), ("b", NOW))]


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()


def run(capsys, *arguments):
    status = cli.main([str(one) for one in arguments])
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_comparison_begins_with_losses(reports, capsys):
    status, text, _ = run(capsys, "compare", *reports)
    lines = text.splitlines()
    assert status == 0
    assert lines[1].split()[1:4] == ["zero_shot.top1[photos]", "0.800", "0.700"]
    assert lines[2].split()[1] == "shift.top1[night]"
    assert "calibration" not in text
    assert "1 gate worse and 1 gate better by more than the tolerance, 0 verdicts changed, 1 gate within it" in text
    assert "only in the first run: old.one[x]" in text
    assert "only in the second run: new.one[x]" in text


def test_a_run_does_not_differ_from_itself(reports):
    found = compare_documents(*(read_report(reports[0]) for _ in range(2)))
    assert (found.gates, found.same, found.only_first, found.only_second, found.remarks) == ((), 4, (), (), ())


def test_comparing_the_other_way_round_turns_losses_into_gains(reports):
    first, second = map(read_report, reports)
    one, other = compare_documents(first, second), compare_documents(second, first)
    assert sorted(gate.loss for gate in one.gates) == pytest.approx(sorted(-gate.loss for gate in other.gates))


def test_changed_verdicts_versions_and_data_are_named(reports):
    first, second = map(read_report, reports)
    second["gates"][0]["verdict"] = "regressed"
    second["versions"]["torch"] = "9.9"
    first["data"] = {"photos": {"fingerprint": "a"}}
    second["data"] = {"photos": {"fingerprint": "b"}}
    found = compare_documents(first, second)
    assert sum(gate.verdict_changed for gate in found.gates) == 1
    assert any("torch" in line and "-> 9.9" in line for line in found.remarks)
    assert "data photos: not the same images and labels in both runs" in found.remarks


def test_a_saved_run_is_shown_with_its_tables(reports, capsys):
    status, text, _ = run(capsys, "show", reports[0].parent / reports[0].name, "-v")
    assert status == 0
    assert all(name in text for name in BEFORE)


def test_a_saved_run_is_written_as_page_and_as_summary(reports, capsys, tmp_path):
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    assert run(capsys, "show", reports[0], f"--html={page}", f"--summary={summary}")[0] == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "gate" in summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["show"], ["compare", "a"], ["comment", "--pull-request=1"]])
def test_what_is_no_report_is_said_in_one_line(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(capsys, *command, "nothing.json")
    assert (status, error.count("\n")) == (2, 1)


# comments

GH = """#!{python}
import json, sys
from pathlib import Path
state = Path({state!r})
comments = json.loads(state.read_text()) if state.exists() else []
arguments = sys.argv[1:]
if "-X" not in arguments:
    print("\\n".join(json.dumps(one) for one in comments))
elif Path({state!r} + ".refuse").exists():
    sys.exit("HTTP 403: Resource not accessible by integration")
elif "POST" in arguments:
    comments.append({{"id": 7 + len(comments), "body": json.load(sys.stdin)["body"]}})
else:
    number = int(next(one for one in arguments if "/comments/" in one).rpartition("/")[2])
    next(one for one in comments if one["id"] == number)["body"] = json.load(sys.stdin)["body"]
state.write_text(json.dumps(comments))
"""


@pytest.fixture
def github(tmp_path, monkeypatch):
    """A command gh that keeps the comments of one pull request in a file; return that file."""
    state = tmp_path / "comments.json"
    state.write_text(json.dumps([{"id": 1, "body": "Looks good!"}]))
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(GH.format(python=sys.executable, state=str(state)))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return state


def bad(path):
    """Return the report with one failed gate."""
    content = json.loads(path.read_text())
    content["gates"][0]["verdict"], content["gates"][0]["failed"] = "regressed", True
    path.write_text(json.dumps(content))
    return path


def test_a_pull_request_has_one_comment_that_follows_the_runs(reports, capsys, github):
    arguments = ["comment", bad(reports[0]), "--pull-request", 12]
    assert run(capsys, *arguments)[:2] == (0, "wrote the comment on pull request 12\n")
    assert run(capsys, *arguments)[:2] == (0, "nothing changed, so no comment is written\n")
    first = json.loads(github.read_text())
    assert [is_ours(one["body"]) for one in first] == [False, True]
    assert run(capsys, "comment", reports[1], "--pull-request", 12)[1] == "changed the comment on pull request 12\n"
    second = json.loads(github.read_text())
    assert (len(second), second[0]) == (2, first[0])
    assert second[1]["body"] == comment_of(read_report(reports[1]))


def test_no_comment_is_written_while_everything_passes(reports, capsys, github):
    before = github.read_text()
    assert run(capsys, "comment", reports[1], "--pull-request", 12)[1].startswith("nothing changed")
    assert github.read_text() == before


def test_a_refusal_of_github_is_one_line(reports, capsys, github):
    github.with_name(f"{github.name}.refuse").touch()
    status, _, error = run(capsys, "comment", bad(reports[0]), "--pull-request", 12)
    assert (status, error.count("\n")) == (2, 1)
    assert "HTTP 403: Resource not accessible by integration; does the token have the permission" in error


def test_without_gh_the_command_is_named(reports, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    status, _, error = run(capsys, "comment", bad(reports[0]), "--pull-request", 12)
    assert status == 2
    assert "GitHub's command gh is not installed" in error


def test_a_dry_run_prints_the_comment(reports, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    status, text, _ = run(capsys, "comment", reports[0], "--pull-request", 12, "--dry-run")
    assert (status, text) == (0, comment_of(read_report(reports[0])) + "\n")


def test_times_and_versions_are_no_news(reports):
    document = read_report(reports[0])
    text = comment_of(document)
    document["created"], document["versions"] = "2030-01-01T00:00:00+00:00", {"python": "4"}
    assert not is_news(document, text)
    document["gates"][0]["value"] += 1e-9
    assert not is_news(document, text)
    document["gates"][0]["value"] += 0.01
    assert is_news(document, text)
    assert content_of(document) not in text
    assert is_news(document, "a comment of somebody else")
