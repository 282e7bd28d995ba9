"""``--clip-data-check``: check the data sets of the profile in this process and end, without a model or tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from _pytest.config import create_terminal_writer

from pytest_clip_robust.errors import ClipRobustError, ConfigError
from pytest_clip_robust.plugin.options import read_cache, read_profile
from pytest_clip_robust.plugin.terminal_width import table_width
from pytest_clip_robust.system.quiet import quiet


def run_data_checks(config: pytest.Config) -> int:
    """Check every data set that has a role, print a table, and return the exit code: 1 if one cannot be read, else 0.

    Raises:
        UsageError: an option or the profile is wrong, or no set has a role.
    """
    terminal = create_terminal_writer(config, sys.stdout)
    try:
        profile, cache = read_profile(config), read_cache(config)
        if not any(profile.roles.values()):
            raise ConfigError(f"--clip-data-check: no data set has a role in profile {profile.name!r}")
        with quiet():
            from pytest_clip_robust.evaluation.data_check import check_data  # noqa: PLC0415 - imports datasets
            from pytest_clip_robust.report.data_checks import render_data_checks, tally  # noqa: PLC0415
        terminal.sep("=", f"clip data check of profile {profile.name}", bold=True)
        local = None if "://" in cache else Path(cache).expanduser().absolute()
        checked = list(check_data(profile, cache=local))
    except ClipRobustError as error:
        raise pytest.UsageError(str(error)) from None
    width = table_width(terminal, isatty=sys.stdout.isatty())
    terminal.write(render_data_checks(checked, width=width, colour=terminal.hasmarkup), flush=True)
    failed = any(one.failed for one in checked)
    terminal.sep("=", tally(checked), bold=True, red=failed, green=not failed)
    return int(pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK)
