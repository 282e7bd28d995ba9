"""Which gates count: for the level of each, in reports, and for the exit status."""

from __future__ import annotations

import json

import pytest

MODEL = "--model=py:colour_clip:load"
PROFILE = "--clip-profile=profile.toml"
BONFERRONI = "--clip-correction=bonferroni"

RERUN = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    "Run a failed test again, as pytest-rerunfailures does."
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(3):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = attempt < 2 and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""

FLAKY = """
from pathlib import Path
from pytest_clip_robust.properties import accuracy

def test_flaky(model, gate):
    log = Path("attempts")
    attempts = len(log.read_text()) if log.exists() else 0
    log.write_text("x" * (attempts + 1))
    found = accuracy.top_k(model.zero_shot("photos"), k=1)
    gate(found, at_most=0.5 if attempts < {failures} else 1)
"""


def gates(pytester, folder="out"):
    return json.loads((pytester.path / folder / "report.json").read_text())["gates"]


def alphas(pytester):
    return {gate["change"]["alpha"] for gate in gates(pytester) if gate["change"]}


def test_the_level_is_divided_by_the_gates_that_run(recorded):
    recorded.runpytest(MODEL, PROFILE, BONFERRONI, "--clip-report=out")
    assert alphas(recorded) == {0.05 / 4}
    suite = (recorded.path / "test_suite.py").read_text()
    recorded.makepyfile(
        test_suite=suite
        + """
@pytest.mark.skip
def test_never(model, gate): pass

@pytest.mark.skipif("sys.version_info > (3,)", reason="today")
def test_not_now(model, gate): pass

@pytest.mark.skipif(False, reason="never")
def test_runs(model, gate):
    gate(accuracy.mean_per_class(model.zero_shot("photos")))

@pytest.mark.clip_role("factors")
def test_no_such_set(model, dataset, gate): pass
"""
    )
    recorded.runpytest(MODEL, PROFILE, BONFERRONI, "--clip-report=out").assert_outcomes(passed=5, skipped=3)
    assert alphas(recorded) == {0.05 / 5}


@pytest.mark.parametrize("fixture", ["panel", "observers"])
def test_sets_without_a_panel_or_observers_do_not_count(recorded, fixture):
    suite = (recorded.path / "test_suite.py").read_text()
    test = f'\n@pytest.mark.clip_role("shift")\ndef test_more(model, dataset, {fixture}, gate): pass\n'
    recorded.makepyfile(test_suite=suite + test)
    result = recorded.runpytest(MODEL, PROFILE, BONFERRONI, "--clip-report=out", "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED *no {fixture}* 'dim'; name *"])
    assert alphas(recorded) == {0.05 / 4}


def test_a_panel_fixture_of_the_project_is_left_alone(recorded):
    suite = (recorded.path / "test_suite.py").read_text()
    own = "\n@pytest.fixture\ndef panel(): return 7\n"
    test = '\n@pytest.mark.clip_role("shift")\ndef test_more(dataset, panel, gate): pass\n'
    recorded.makepyfile(test_suite=suite + own + test)
    recorded.runpytest(MODEL, PROFILE).assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("failures", "verdict", "workers"),
    [(1, "passed", ()), (9, "below_threshold", ()), (1, "passed", ("-n1",))],
)
def test_only_the_last_attempt_of_a_rerun_counts(crowd, failures, verdict, workers, forked_workers):
    crowd.makeconftest(RERUN)
    crowd.makepyfile(test_suite=FLAKY.replace("{failures}", str(failures)))
    result = crowd.runpytest(MODEL, PROFILE, "--clip-report=out", *workers)
    assert result.ret == (0 if verdict == "passed" else 1)
    assert [gate["verdict"] for gate in gates(crowd)] == [verdict]


def test_a_rerun_records_its_last_attempt(crowd):
    crowd.makeconftest(RERUN)
    crowd.makepyfile(test_suite=FLAKY.replace("{failures}", "1"))
    result = crowd.runpytest(MODEL, PROFILE, "--snapshot-update")
    result.stdout.fnmatch_lines(["recorded 1 entry in *"])
    assert result.ret == 0


@pytest.mark.parametrize("name", ["gate", "model", "dataset"])
def test_a_fixture_that_is_asked_for_too_late_fails_in_one_line(colours, name):
    colours.makepyfile(test_suite=f"def test_it(request): request.getfixturevalue({name!r})")
    result = colours.runpytest(MODEL, PROFILE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*`{name}` *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*Error:*")


def test_a_fixture_that_asks_for_the_gate_is_counted(colours):
    colours.makepyfile(
        test_suite="""
        import pytest
        from pytest_clip_robust.properties import accuracy

        @pytest.fixture
        def check(model, gate):
            return lambda: gate(accuracy.top_k(model.zero_shot("photos"), k=1))

        def test_it(check, request):
            assert request.getfixturevalue("gate")
            check()
        """
    )
    colours.runpytest(MODEL, PROFILE).assert_outcomes(passed=1)


UNLOADABLE = """
import pytest, unittest
from colour_clip import ColourClip

class Late(ColourClip):
    identity = "late 1"
    def encode_text(self, texts):
        pytest.skip("no GPU here")

def skips(): pytest.skip("no weights here")
def xfails(): pytest.xfail("no weights here")
def exits(): pytest.exit("no weights here", returncode=0)
def skips_as_unittest(): raise unittest.SkipTest("no weights here")
def needs_a_package(): pytest.importorskip("no_such_package_at_all")
def skips_late(): return Late()
"""


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("skips", "no weights here"),
        ("xfails", "no weights here"),
        ("exits", "no weights here"),
        ("skips_as_unittest", "no weights here"),
        ("needs_a_package", "no_such_package_at_all"),
        ("skips_late", "no GPU here"),
    ],
)
def test_a_model_that_skips_could_not_be_measured(colours, factory, message):
    colours.makepyfile(unloadable=UNLOADABLE)
    result = colours.runpytest(f"--model=py:unloadable:{factory}", PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*{message}*", "error *test_top1*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    (gate,) = gates(colours)
    assert gate["verdict"] == "error"


def test_a_reference_that_skips_is_an_error_of_every_gate(colours):
    colours.makepyfile(unloadable=UNLOADABLE)
    result = colours.runpytest(MODEL, "--clip-reference=py:unloadable:skips", PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the reference could not be measured: *no weights here*"])


def test_a_test_can_still_skip_itself(colours):
    suite = (colours.path / "test_suite.py").read_text()
    colours.makepyfile(test_suite=suite.replace("    gate(", "    pytest.skip('not today')\n    gate("))
    colours.runpytest(MODEL, PROFILE).assert_outcomes(skipped=1)


def test_a_run_in_which_every_gate_was_skipped_says_so_and_fails_where_it_is_strict(colours):
    suite = (colours.path / "test_suite.py").read_text()
    colours.makepyfile(test_suite=suite.replace("    gate(", "    pytest.skip('not today')\n    gate("))
    result = colours.runpytest(MODEL, PROFILE)
    result.stdout.fnmatch_lines(["no gate was judged; 1 was skipped (-rs shows why)"])
    assert result.ret == 0
    assert colours.runpytest(MODEL, PROFILE, "--clip-strict").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("section", ["thresholds", "tolerances"])
def test_keys_that_match_nothing_are_named_and_fail_where_it_is_strict(recorded, section):
    value = "{ at_least = 0.5 }" if section == "thresholds" else "0.1"
    profile = recorded.path / "profile.toml"
    profile.write_text(profile.read_text() + f'[{section}]\n"zero_shot.topl" = {value}\n')
    line = f"{section} that match no measurement: zero_shot.topl (did you mean *'zero_shot.top1'*"
    result = recorded.runpytest(MODEL, PROFILE)
    result.stdout.fnmatch_lines([line])
    assert result.ret == 0
    strict = recorded.runpytest(MODEL, PROFILE, "--clip-strict", "--clip-report=out")
    strict.assert_outcomes(passed=4)
    strict.stdout.fnmatch_lines([line])
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    assert json.loads((recorded.path / "out" / "report.json").read_text())["exit_status"] == 1
    assert recorded.runpytest(MODEL, PROFILE, "--clip-strict", "-k", "top1 or shift").ret == 0


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "worker"])
@pytest.mark.parametrize("part", [("-k", "top1 or shift"), ("--lf",)], ids=["chosen", "last failed"])
def test_a_part_of_a_run_does_not_show_that_a_key_matches_nothing(recorded, part, workers, forked_workers):
    profile = recorded.path / "profile.toml"
    profile.write_text(profile.read_text() + '[thresholds]\n"zero_shot.topl" = { at_least = 0.5 }\n')
    result = recorded.runpytest(MODEL, PROFILE, "--clip-strict", *part, *workers)
    result.stdout.no_fnmatch_line("*match no measurement*")
    result.stdout.fnmatch_lines(["ready, as far as the selected tests tell*"])
    assert result.ret == 0
