from __future__ import annotations

from functools import partial

import pytest
from handmade_reports import write_report


@pytest.fixture
def make_report(tmp_path):
    return partial(write_report, tmp_path)


@pytest.fixture
def profile(tmp_path):
    """A profile with comments, without tolerances."""
    path = tmp_path / "release.toml"
    path.write_text(
        '# Our release.\nname = "release"  # short\n\n# Demands.\n[thresholds]\n"zero_shot.top1" = { at_least = 0.5 }\n'
    )
    return path
