"""Notices: one line to the user about something that did not stop the run.

They are a callback and not `warnings.warn`, because a run under ``-W error`` must survive a damaged cache file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

Notice = Callable[[str], None]
"""Takes one line, without a full stop or a line break."""


def log_notice(line: str) -> None:
    """Give the line to the ``pytest_clip_robust`` logger: the default where the caller has no better place."""
    logging.getLogger("pytest_clip_robust").warning(line)
