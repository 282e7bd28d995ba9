from __future__ import annotations

import pytest
from headless import browse


@pytest.fixture
def ask(page, tmp_path):
    """Return a function that opens the fixture `page` of a module, and returns the value of an expression there."""

    def asked(probe, **options):
        found, console = browse(page, tmp_path, probe=probe, **options)
        assert console == []
        return found

    return asked
