from __future__ import annotations

from pathlib import Path

import cpu_report
import pytest

PLUGIN = Path(cpu_report.__file__).read_text()
TESTS = """
import subprocess, sys, time
import pytest

def spend():
    end = time.process_time() + 0.15
    while time.process_time() < end: pass

@pytest.fixture
def costly(): spend()

def test_light(): time.sleep(0.2)
def test_with_a_fixture(costly): pass
def test_with_a_process():
    program = "import time\\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-IS", "-c", program], check=True)

for _ in range(4): spend()  # what importing this file costs
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_tests_are_named_by_cpu_time_with_fixtures_and_processes(pytester, workers):
    constants = 'LEAST_TESTS, SHOWN, FOLDER = 1000, 10, "tests/"'
    assert constants in PLUGIN
    pytester.makeconftest(PLUGIN.replace(constants, 'LEAST_TESTS, SHOWN, FOLDER = 3, 2, ""'))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest(*workers)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*= * CPU seconds in 3 tests =*", "*0.? s  *::test_with_a_process", "*0.? s  *::test_with_a_fixture"]
    )
    result.stdout.no_fnmatch_line("* s  *::test_light")


def test_a_short_run_has_no_such_list(pytester):
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*CPU seconds*")


def test_tests_of_other_folders_are_not_counted(pytester):
    pytester.makeconftest(PLUGIN.replace("= 1000, 10", "= 1, 2"))
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*CPU seconds*")
