"""Prints which tests of a long run cost most processor time: wall time depends on what else the machine does."""

from __future__ import annotations

import os
from collections import Counter

import pytest

LEAST_TESTS, SHOWN, FOLDER = 1000, 10, "tests/"
"""Other tests are not counted: pytest also reads conftest.py here when it runs the suites."""


def pytest_configure(config):
    config.pluginmanager.register(CpuReport(), "cpu-report")


class CpuReport:
    """CPU seconds by test, with those of its fixtures and of the processes that ended meanwhile."""

    def __init__(self):
        self.spent = Counter()
        self.before = used()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self):
        """Begin after the collection, which is no test's."""
        self.before = used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Note in each report what its setup, call or teardown cost; xdist sends the note along."""
        report = yield
        now = used()
        report.cpu_seconds, self.before = now - self.before, now
        return report

    def pytest_runtest_logreport(self, report):
        if report.nodeid.startswith(FOLDER):
            self.spent[report.nodeid] += report.cpu_seconds

    def pytest_terminal_summary(self, terminalreporter):
        if len(self.spent) < LEAST_TESTS:
            return
        terminalreporter.section(f"{self.spent.total():.0f} CPU seconds in {len(self.spent)} tests")
        for name, seconds in self.spent.most_common(SHOWN):
            terminalreporter.write_line(f"{seconds:6.1f} s  {name}")


def used() -> float:
    """Return the CPU seconds of this process and of its processes that have ended."""
    return sum(os.times()[:4])
