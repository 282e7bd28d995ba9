"""Annotations: worst first, ten at most, and the others are counted."""

from __future__ import annotations

import pytest
from handmade_reports import TOP1, changed, record

from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.annotations import MOST, FailedTest, error_commands, in_github_job


def lost(name, value, **fields):
    return changed(record(f"zero_shot.{name}[x]", value, model="m"), 0.9, verdict="regressed", **fields)


def test_a_gate_that_fails_has_its_numbers_in_one_command():
    (command,) = error_commands([changed(record(TOP1, 0.61, model="m"), 0.71, verdict="regressed", p=0.004)])
    minus = "\N{MINUS SIGN}"
    assert command == (
        "::error title=regressed%3A zero_shot.top1[photos] (m)::0.610 (0.570 to 0.650), n = 100; before 0.710, "
        f"difference {minus}0.100 ({minus}0.130 to {minus}0.070); p 0.004"
    )


def test_gates_that_do_not_fail_have_none():
    assert error_commands([changed(record(TOP1, 0.6, model="m"), 0.7, verdict="inconclusive")]) == []


def test_headlines_come_first_then_the_largest_losses():
    records = [lost("small", 0.85, headline=False), lost("large", 0.2, headline=False), lost("headline", 0.8)]
    assert [command.split("zero_shot.")[1].split("[")[0] for command in error_commands(records)] == [
        "headline", "large", "small",
    ]  # fmt: skip


def titles(commands):
    return [command.removeprefix("::error title=").partition("::")[0].replace("%3A", ":") for command in commands]


def test_what_could_not_be_measured_comes_first_and_findings_last():
    records = [lost("headline", 0.8), record_error("no weights", model="m", measurement="test_a")]
    tests, findings = [FailedTest("test_b.py::test_b", "50 %")], [FailedTest("bias", "it is 0.2")]
    commands = error_commands(records, tests=tests, findings=findings)
    assert titles(commands) == [
        "error: test_a (m)",
        "failed: test_b.py::test_b",
        "regressed: zero_shot.headline[x] (m)",
        "does not hold: bias",
    ]
    assert commands[1].endswith("::50 %25")


def test_tests_and_findings_count_among_the_ten():
    one = [FailedTest("name", "why")]
    commands = error_commands([lost(f"m{i}", 0.5) for i in range(7)], tests=one * 2, findings=one * 2)
    assert len(commands) == MOST
    assert titles(commands)[-2:] == ["regressed: zero_shot.m6[x] (m)", "clip-robust"]
    assert "2 more failures" in commands[-1]
    assert len(error_commands([], tests=one * MOST)) == MOST


@pytest.mark.parametrize(
    ("failed", "last"), [(MOST, "regressed"), (MOST + 1, "2 more failures"), (500, "491 more failures")]
)
def test_there_are_ten_at_most_and_the_last_counts_the_others(failed, last):
    commands = error_commands([lost(f"m{i}", 0.5) for i in range(failed)])
    assert len(commands) == MOST
    assert last in commands[-1]


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("false", False), ("", False), (None, False)])
def test_they_are_for_jobs_of_github(monkeypatch, value, wanted):
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    assert in_github_job() is wanted
