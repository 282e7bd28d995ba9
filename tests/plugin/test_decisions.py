"""What the other gates decide: reported once, at the end of the run, in every way that pytest reports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from pytest_clip_robust.report.document import SCHEMA

MODEL = "--model=py:colour_clip:load"
WORSE = "--model=py:colour_clip:load_forgetful"
AGAINST = "--clip-reference=py:colour_clip:load"
PROFILE = "--clip-profile=profile.toml"

MARGINAL = """
import numpy as np
import pytest
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.stats.intervals import wilson

def measured(model, lost, gained, name, headline):
    "Of 1,000 answers the reference has 700 right; the model loses some and gains others."
    right = np.arange(1000) < 700
    if "forgetful" in str(model.spec):
        right[:lost], right[700 : 700 + gained] = False, True
    return Measurement(
        metric=f"zero_shot.{name}", value=float(right.mean()), n=1000, interval=wilson(int(right.sum()), 1000),
        direction="higher", tolerance=0.01, headline=headline, dataset="photos", outcomes=right.astype(np.float32),
        provenance=model.zero_shot("photos").provenance,
    )
"""

NOISE = """
@pytest.mark.parametrize("i", range(40))
def test_noise(model, gate, i):
    gate(measured(model, 20, 20, f"noise{i}", False))
"""


def one_gate(name, lost, gained, *, headline=False, marker="", more=""):
    return f"""
{marker}
def test_{name}(model, gate):
    gate(measured(model, {lost}, {gained}, "{name}", {headline}))
    {more}
"""


@pytest.fixture
def marginal(crowd):
    """A project with a headline and a detail that lose as much, with p-values near 0.01, among 40 without a loss."""
    crowd.makepyfile(test_suite=MARGINAL + NOISE + one_gate("main", 33, 17, headline=True) + one_gate("side", 33, 17))
    return crowd


def report(project, folder="out"):
    return json.loads((project.path / folder / "report.json").read_text())


def verdicts(project, folder="out"):
    return {
        gate["test"].rpartition("::")[2].partition("[")[0]: gate["verdict"] for gate in report(project, folder)["gates"]
    }


def test_a_headline_is_called_that_its_details_do_not_hide(marginal):
    result = marginal.runpytest(WORSE, AGAINST, PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=41, failed=1)
    assert verdicts(marginal) == {"test_noise": "passed", "test_main": "regressed", "test_side": "inconclusive"}
    result.stdout.fnmatch_lines(
        [
            "*[?]*",
            "decided by the p-values of all gates: *",
            "zero_shot.main[[]photos] = 0.6840 is worse than 0.7000 of reference py:colour_clip:load",
            "*, adjusted for all headline gates 0.0*, significant at 0.05 or less",
            "headline gates: 1",
            "regressed *zero_shot.main* 0.7000 *0.6840 *",
            "inconclusive *zero_shot.side*",
            "level: a run in which nothing got worse is red with a probability of at most 0.05, 50% for 1 headline *",
            "not ready: 1 of 1 aspect got worse: zero-shot accuracy (zero_shot.main[[]photos] -0.016)",
        ]
    )
    (conclusion,) = report(marginal)["conclusions"]
    assert conclusion["verdict"] == "not ready"
    assert report(marginal)["schema"] == SCHEMA


def test_in_verbose_mode_the_wait_has_a_name(crowd):
    crowd.makepyfile(test_suite=MARGINAL + one_gate("first", 80, 0) + one_gate("second", 0, 0))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "-v")
    result.stdout.fnmatch_lines(
        [
            "test_suite.py::test_first* DECIDED AT THE END *",
            "test_suite.py::test_second* PASSED *",
            "decided by the p-values of all gates:*",
            "test_suite.py::test_first* FAILED*",
        ]
    )
    result.assert_outcomes(passed=1, failed=1)


def test_workers_decide_alike(marginal, run_apart):
    for folder, options in (("one", ()), ("two", ("-n2",))):
        result = run_apart(WORSE, AGAINST, PROFILE, f"--clip-report={folder}", *options)
        result.assert_outcomes(passed=41, failed=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert report(marginal, "one")["gates"] == report(marginal, "two")["gates"]


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_every_test_is_in_junit_once_with_its_final_verdict(marginal, workers, run_apart):
    run_apart(WORSE, AGAINST, PROFILE, "--junitxml=junit.xml", *workers)
    root = ET.parse(marginal.path / "junit.xml").getroot().find("testsuite")
    cases = {case.get("name").partition("[py")[0]: case for case in root.iter("testcase")}
    assert Counter(case.get("name") for case in root.iter("testcase")).most_common(1)[0][1] == 1
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("42", "1", "0")
    (failure,) = cases["test_main"].iter("failure")
    assert "zero_shot.main[photos] = 0.6840 is worse than 0.7000" in failure.text
    assert not list(cases["test_side"].iter("failure"))
    found = {name: {one.get("name"): one.get("value") for one in case.iter("property")} for name, case in cases.items()}
    assert found["test_main"]["clip_verdict"] == "regressed"
    assert found["test_side"]["clip_verdict"] == "inconclusive"
    assert float(found["test_main"]["clip_change_p_adjusted"]) < 0.05


def test_lf_runs_what_turned_red_at_the_end_and_it_stays_red(marginal):
    marginal.runpytest(WORSE, AGAINST, PROFILE)
    again = marginal.runpytest(WORSE, AGAINST, PROFILE, "--lf")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["not ready, as far as the selected tests tell: 1 of 1 aspect got worse: *"])


@pytest.mark.parametrize("options", [("-x",), ("--maxfail=1",), ("-x", "-n1")])
def test_a_run_that_stops_early_decides_on_what_ran(crowd, options, run_apart):
    crowd.makepyfile(
        test_suite=MARGINAL + one_gate("first", 80, 0) + "def test_stops(): assert False\n" + one_gate("later", 90, 0)
    )
    result = run_apart(WORSE, AGAINST, PROFILE, "--clip-report=out", *options)
    assert result.ret in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    assert verdicts(crowd)["test_first"] == "regressed"
    assert "FAILED test_suite.py::test_first" in result.stdout.str()


def test_regressions_do_not_stop_a_run_that_stops_at_failures(crowd):
    crowd.makepyfile(test_suite=MARGINAL + one_gate("first", 80, 0) + one_gate("second", 90, 0))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "-x")
    result.assert_outcomes(failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_interrupted_run_reports_what_waited(crowd, run_apart):
    crowd.makepyfile(test_suite=MARGINAL + one_gate("first", 80, 0) + "def test_stops(): raise KeyboardInterrupt\n")
    result = run_apart(WORSE, AGAINST, PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert verdicts(crowd) == {"test_first": "regressed"}
    result.stdout.fnmatch_lines(["not ready: 1 of 1 aspect got worse: *; the run did not end as it should*"])


def test_thresholds_and_errors_fail_at_once(crowd):
    (crowd.path / "profile.toml").write_text(
        (crowd.path / "profile.toml").read_text() + '[thresholds]\n"zero_shot.first" = { at_least = 0.9 }\n'
    )
    crowd.makepyfile(test_suite=MARGINAL + one_gate("first", 80, 0) + one_gate("second", 90, 0))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "-x", "--clip-report=out")
    result.assert_outcomes(failed=1)
    assert verdicts(crowd) == {"test_first": "below_threshold"}
    result.stdout.fnmatch_lines(["not ready: 1 of 1 aspect got worse: *; outside its threshold: zero_shot.first*"])


def test_skipped_tests_do_not_count(crowd):
    skipping = NOISE.replace("    gate(", "    pytest.skip('no')\n    gate(")
    crowd.makepyfile(test_suite=MARGINAL + skipping + one_gate("only", 33, 17))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE)
    result.assert_outcomes(failed=1, skipped=40)
    crowd.makepyfile(test_suite=MARGINAL + NOISE + one_gate("only", 33, 17))
    crowd.runpytest(WORSE, AGAINST, PROFILE).assert_outcomes(passed=41)


@pytest.mark.parametrize(
    ("marker", "lost", "outcome"),
    [
        ("xfail(reason='known')", 80, {"xfailed": 1}),
        ("xfail(reason='known')", 0, {"xpassed": 1}),
        ("xfail(reason='known', strict=True)", 80, {"xfailed": 1}),
        ("xfail(reason='known', strict=True)", 0, {"failed": 1}),
        ("xfail(reason='known', strict=True, raises=pytest.fail.Exception)", 80, {"xfailed": 1}),
        ("xfail(reason='known', strict=False, raises=ValueError)", 80, {"failed": 1}),
    ],
)
def test_a_regression_that_is_expected_is_an_expected_failure(crowd, marker, lost, outcome):
    marker = marker if "strict" in marker else marker.replace(")", ", strict=False)")
    crowd.makepyfile(test_suite=MARGINAL + one_gate("known", lost, 0, marker=f"@pytest.mark.{marker}"))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE)
    result.assert_outcomes(**outcome)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if "failed" in outcome else 0)
    if "xfailed" in outcome:
        result.stdout.fnmatch_lines(["ready: 0 of 1 aspect got worse"])


def test_a_threshold_that_is_expected_to_fail_forbids_nothing_after_the_decision(crowd):
    profile = crowd.path / "profile.toml"
    profile.write_text(profile.read_text() + '[thresholds]\n"zero_shot.known" = { at_least = 0.9 }\n')
    marker = "@pytest.mark.xfail(reason='known', strict=True)"
    crowd.makepyfile(test_suite=MARGINAL + one_gate("known", 80, 0, marker=marker))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE)
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["ready: 0 of 1 aspect got worse"])


def test_a_test_that_fails_after_its_gate_fails_at_once_and_once(crowd):
    crowd.makepyfile(test_suite=MARGINAL + one_gate("first", 80, 0, more="assert model is None"))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "--clip-report=out")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert model is None*"])
    assert verdicts(crowd) == {"test_first": "regressed"}


def test_a_teardown_that_fails_is_reported_after_its_test(crowd):
    fixture = "@pytest.fixture(autouse=True)\ndef broken():\n    yield\n    raise OSError('disk')\n"
    crowd.makepyfile(test_suite=MARGINAL + fixture + one_gate("first", 80, 0))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "--junitxml=junit.xml")
    result.assert_outcomes(failed=1, errors=1)


def test_a_failing_test_without_a_gate_is_an_obstacle(crowd):
    crowd.makepyfile(test_suite=MARGINAL + one_gate("fine", 0, 0) + "def test_other(): assert False\n")
    result = crowd.runpytest(WORSE, AGAINST, PROFILE)
    result.stdout.fnmatch_lines(["not ready: 1 other test failed"])


def test_bonferroni_decides_in_the_test(marginal):
    result = marginal.runpytest(WORSE, AGAINST, PROFILE, "--clip-correction=bonferroni", "--clip-report=out")
    result.assert_outcomes(passed=42)
    assert verdicts(marginal) == {"test_noise": "passed", "test_main": "inconclusive", "test_side": "inconclusive"}
    assert {gate["change"]["alpha"] for gate in report(marginal)["gates"]} == {0.05 / 42}
    assert {gate["change"]["p_adjusted"] for gate in report(marginal)["gates"]} == {None}
    result.stdout.fnmatch_lines(["level: *; p is not adjusted, and significant at 0.0012 or less"])
    result.stdout.no_fnmatch_line("*[?]*")


def test_an_unknown_correction_is_a_usage_error(crowd):
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "--clip-correction=bonferoni")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--clip-correction 'bonferoni' (did you mean 'bonferroni'?): expected one of benjamini-hochberg, bonferroni"]
    )


def test_the_profile_chooses_headlines_and_their_share(marginal):
    profile = marginal.path / "profile.toml"
    text = profile.read_text()
    profile.write_text(text + '[gates]\nheadline = ["zero_shot.side[photos]"]\nheadline_share = 0.9\n')
    marginal.runpytest(WORSE, AGAINST, PROFILE, "--clip-report=out").assert_outcomes(passed=41, failed=1)
    assert verdicts(marginal) == {"test_noise": "passed", "test_main": "inconclusive", "test_side": "regressed"}
    assert report(marginal)["headline_share"] == 0.9

    profile.write_text(text + '[gates]\nheadline = ["zero_shot.side", "zero_shot.mian"]\n')
    result = marginal.runpytest(WORSE, AGAINST, PROFILE, "--clip-strict")
    result.stdout.fnmatch_lines(["headline gates that match no measurement: zero_shot.mian (did you mean *"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("headline_share = 1.0", "gates: headline_share=1.0; expected a number above 0 and below 1"),
        ("headline = []", "gates: headline is empty; name at least one metric*"),
        ("headlines = ['a']", "gates: unknown key 'headlines' (did you mean *"),
        ("headline = [1]", "gates.headline*=1; expected *"),
    ],
)
def test_a_wrong_section_gates_is_a_usage_error(crowd, line, message):
    profile = crowd.path / "profile.toml"
    profile.write_text(f"{profile.read_text()}\n[gates]\n{line}\n")
    result = crowd.runpytest(WORSE, PROFILE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_a_rerun_forgets_what_waited(crowd):
    crowd.makeconftest(
        "import pytest\nfrom _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    for _ in range(2):\n"
        "        item._initrequest()\n"
        "        for report in runtestprotocol(item, nextitem=nextitem, log=False):\n"
        "            item.ihook.pytest_runtest_logreport(report=report)\n"
        "    return True\n"
    )
    crowd.makepyfile(test_suite=MARGINAL + one_gate("twice", 80, 0))
    result = crowd.runpytest(WORSE, AGAINST, PROFILE, "--clip-report=out")
    result.assert_outcomes(failed=1)
    assert len(report(crowd)["gates"]) == 1


def test_a_run_that_nothing_judges_is_not_called_ready(crowd):
    result = crowd.runpytest(MODEL, PROFILE)
    result.stdout.fnmatch_lines(["not judged: no gate has a threshold or something to compare with"])
    assert result.ret == 0
