from __future__ import annotations

import pytest

from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.questions.questions import load_question_set


@pytest.fixture
def questions(tmp_path):
    """Load a set as ``--clip-data`` names it."""

    def read(option):
        return load_question_set(parse_data_option(str(option)), cache_dir=tmp_path / "cache")

    return read
