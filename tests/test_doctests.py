"""Tests of the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import linecache
import pkgutil

import pytest

import pytest_clip_robust

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(pytest_clip_robust.__path__, "pytest_clip_robust.")
    if ".suites" not in found.name
)


def test_modules_are_found():
    assert "pytest_clip_robust.core.measurement" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_correct(name):
    module = importlib.import_module(name)
    linecache.clearcache()  # or doctest would look at each of its files for every docstring
    result = doctest.testmod(module)
    assert result.failed == 0
